use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Poll, Wake},
};

use http::StatusCode;

use super::*;
use crate::proxy::{
    http2::{
        frame::{DATA, HEADER, Header, LONGEST, Said, Settings},
        head::Fields,
        hpack::{Field, Name},
    },
    message::Headers,
};

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A task that counts how often it is woken.
fn task() -> (Arc<Woken>, Waker) {
    let woken = Arc::new(Woken::default());
    (Arc::clone(&woken), woken.into())
}

/// A connection that has said what is said in the beginning.
fn core() -> Core {
    let mut core = Core::new(Arc::new(Limits::default()));
    said(&mut core);
    core
}

/// The frames that wait to be written, which are taken: kind, stream, length.
fn said(core: &mut Core) -> Vec<(u8, u32, usize)> {
    let mut bytes = Vec::new();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(core.output.poll_write(std::pin::pin!(&mut bytes), &mut cx).is_ready());
    core.next_in_turn();
    let (mut rest, mut frames) = (&*bytes, Vec::new());
    while let Some((header, behind)) = rest.split_first_chunk::<HEADER>() {
        let header = Header::read(*header);
        rest = &behind[header.length..];
        frames.push((header.kind, header.stream, header.length));
    }
    frames
}

fn ask(core: &mut Core, id: u32, ends: bool) {
    let mut fields = Fields::default();
    for (name, value) in [(":method", "POST"), (":scheme", "https"), (":path", "/")] {
        fields.take(Field::new(Name::of(name.as_bytes()), value.as_bytes()), 1000);
    }
    assert!(core.hear_fields(id, fields, ends, false).unwrap().is_some());
}

fn room(core: &mut Core, id: u32, waker: &Waker) -> Option<usize> {
    match core.poll_room(id, &Context::from_waker(waker)) {
        Poll::Ready(room) => Some(room.unwrap()),
        Poll::Pending => None,
    }
}

const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

#[test]
fn streams_that_share_a_window_have_it_in_turns() {
    let mut core = core();
    let tasks = [1, 3, 5].map(|id| {
        ask(&mut core, id, true);
        core.say_head(id, StatusCode::OK, &Headers::new(), false);
        (id, task())
    });
    core.hear(&Said::Settings(Settings(&[0, 4, 0x7f, 0xff, 0xff, 0xff]))).unwrap();
    // As long as there is room each may have as much as there is.
    for _ in 0..3 {
        assert_eq!(room(&mut core, 1, &tasks[0].1.1), Some(LONGEST));
        core.say(1, vec![0; LONGEST].into(), false);
    }
    assert_eq!(room(&mut core, 1, &tasks[0].1.1), Some(65_535 - 3 * LONGEST));
    core.say(1, vec![0; 65_535 - 3 * LONGEST].into(), false);
    said(&mut core);
    for (id, (_, waker)) in &tasks {
        assert_eq!(room(&mut core, *id, waker), None, "{id}");
    }
    // A frame each, then the next one is woken.
    for turn in 0..6 {
        core.hear(&Said::Window { stream: 0, by: 100 }).unwrap();
        let (id, (woken, waker)) = &tasks[turn % 3];
        assert_eq!(woken.0.swap(0, Ordering::Relaxed), 1, "turn {turn}");
        for (other, (woken, waker)) in tasks.iter().filter(|(other, _)| other != id) {
            assert_eq!((woken.0.load(Ordering::Relaxed), room(&mut core, *other, waker)), (0, None));
        }
        assert_eq!(room(&mut core, *id, waker), Some(100));
        core.say(*id, vec![0; 100].into(), false);
        assert_eq!(room(&mut core, *id, waker), None);
    }
    // Who leaves keeps nobody up.
    core.hear(&Said::Window { stream: 0, by: 100 }).unwrap();
    core.unsaid(1);
    assert_eq!(tasks[1].1.0.0.load(Ordering::Relaxed), 1);
    assert_eq!(room(&mut core, 3, &tasks[1].1.1), Some(100));
}

#[test]
fn what_the_client_does_not_take_is_waited_for() {
    let mut core = core();
    ask(&mut core, 1, true);
    core.hear(&Said::Window { stream: 0, by: 1 << 30 }).unwrap();
    core.hear(&Said::Window { stream: 1, by: 1 << 30 }).unwrap();
    let (woken, waker) = task();
    let mut sent = 0;
    while let Some(count) = room(&mut core, 1, &waker) {
        core.say(1, vec![0; count].into(), false);
        sent += count;
    }
    assert!((64 * 1024..=64 * 1024 + LONGEST).contains(&sent), "{sent}");
    assert!(core.reads());
    assert!(said(&mut core).iter().all(|frame| *frame == (DATA, 1, LONGEST)));
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    // Nobody is read from who takes no answers to what costs him nothing.
    while core.reads() {
        core.hear(&Said::Ping([0; 8])).unwrap();
    }
    assert!(core.output.len() < 129 * 1024);
}

#[test]
fn the_client_is_told_what_was_read_and_what_nobody_wants() {
    let mut core = core();
    ask(&mut core, 1, false);
    ask(&mut core, 3, false);
    let piece = vec![0; LONGEST];
    let data = |stream| Said::Data { stream, flow: LONGEST as u32, unused: 0, bytes: &piece, ends: false };
    for _ in 0..15 {
        core.hear(&data(1)).unwrap();
    }
    assert_eq!(said(&mut core), []);
    let cx = Context::from_waker(Waker::noop());
    for _ in 0..15 {
        assert!(core.poll_come(1, &cx).is_ready());
    }
    assert!(core.poll_come(1, &cx).is_pending());
    assert_eq!(said(&mut core), [(WINDOW_UPDATE, 1, 4)]);
    // What nobody takes is the connection's to have again, but not its stream's.
    core.unheard(3);
    for _ in 0..16 {
        core.hear(&data(3)).unwrap();
    }
    assert_eq!(said(&mut core), [(WINDOW_UPDATE, 0, 4)]);
    assert_eq!(core.hear(&data(3)), Ok(()));
    assert_eq!(said(&mut core), [(WINDOW_UPDATE, 0, 4), (RST_STREAM, 3, 4)], "more than its window");
}

#[test]
fn a_body_in_the_smallest_pieces_takes_no_more_than_it_is() {
    let mut core = core();
    ask(&mut core, 1, false);
    for _ in 0..100_000 {
        core.hear(&Said::Data { stream: 1, flow: 1, unused: 0, bytes: b"x", ends: false }).unwrap();
    }
    core.hear(&Said::Data { stream: 1, flow: 0, unused: 0, bytes: b"", ends: true }).unwrap();
    let held = |core: &mut Core| core.stream(1).unwrap().come.iter().map(BytesMut::capacity).sum::<usize>();
    assert!((100_000..110_000).contains(&held(&mut core)), "{}", held(&mut core));
    let (mut got, cx) = (0, Context::from_waker(Waker::noop()));
    while let Poll::Ready(Some(piece)) = core.poll_come(1, &cx) {
        got += piece.unwrap().len();
    }
    assert_eq!((got, core.is_heard(1)), (100_000, true));
}

#[test]
fn an_answer_that_does_not_wait_for_the_request_ends_it_without_an_error() {
    let mut core = core();
    ask(&mut core, 1, false);
    core.say_head(1, StatusCode::OK, &Headers::new(), true);
    core.unheard(1);
    core.unsaid(1);
    assert_eq!(said(&mut core)[1..], [(RST_STREAM, 1, 4)]);
    assert!(core.streams.is_empty());
    // What the client has said meanwhile is none of a stream that is closed.
    core.hear(&Said::Data { stream: 1, flow: 1, unused: 0, bytes: b"x", ends: true }).unwrap();
    assert_eq!(core.hear_fields(1, Fields::default(), true, false).unwrap().map(|_| ()), None);
    assert_eq!(said(&mut core), []);
}

#[test]
fn streams_that_are_given_up_faster_than_they_end_are_too_many() {
    let mut core = core();
    for id in (1..=299).step_by(2) {
        ask(&mut core, id, false);
        core.hear(&Said::Reset { stream: id, reason: Reason::CANCEL }).unwrap();
    }
    assert_eq!(
        core.hear_fields(301, Fields::default(), true, false).map(|_| ()),
        Err(Reason::ENHANCE_YOUR_CALM)
    );
}

#[test]
fn who_leaves_serves_what_was_asked_before_the_client_knew() {
    let mut core = core();
    core.leave();
    assert_eq!(said(&mut core).iter().map(|frame| frame.0).collect::<Vec<_>>(), [GOAWAY, 6]);
    ask(&mut core, 1, true);
    core.hear(&Said::Pong(KNOWS)).unwrap();
    assert_eq!(said(&mut core), [(GOAWAY, 0, 8)]);
    assert_eq!(core.hear_fields(3, Fields::default(), true, false).map(|_| ()), Ok(()));
    assert_eq!(said(&mut core), [(RST_STREAM, 3, 4)]);
    assert!(!core.is_over());
    core.say_head(1, StatusCode::OK, &Headers::new(), true);
    assert!(core.is_over());
}
