//! What connections are told while an instance is drained or the proxy leaves: that this answer is the last, that they end, that
//! they are cut. Pure: time is an argument.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use tokio::sync::watch;

/// What holds now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Course {
    /// Connections are accepted.
    pub accepts: bool,
    /// Each answer is the last one on its connection.
    pub closes: bool,
    /// The number of those that are accepted now.
    pub generation: u64,
    /// Connections with a lower number end once they have no request.
    pub ending: u64,
    /// Connections with a lower number are cut.
    pub cut: u64,
}

/// How connections hear of it.
pub type Orders = watch::Receiver<Course>;

/// A drain or a leave is told by the owner alone.
#[derive(Debug, Clone)]
pub struct Life {
    course: Course,
    /// Since when the file says `admin_state = "down"`, and for how long connections may go on then.
    file: Option<(Instant, Duration)>,
    /// When a drain is over that the balancer has told of: it knows what the file does not.
    told: Option<Instant>,
    stage: Stage,
    leaving: Option<Instant>,
    /// How long requests may take once their connections end.
    moment: Duration,
    /// From leaving to the cut.
    shutdown: Duration,
}

/// How far the drain of now has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Running,
    Ending,
    Over,
}

/// What a successor has to know of a drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Drain {
    /// How long the file has said `down`.
    since: Option<Duration>,
    /// What is left of the time that the balancer told.
    left: Option<Duration>,
}

impl Default for Course {
    fn default() -> Self {
        Self { accepts: true, closes: false, generation: 1, ending: 0, cut: 0 }
    }
}

impl Course {
    /// What connections are told that are under two orders.
    pub fn and(self, other: Self) -> Self {
        Self {
            accepts: self.accepts && other.accepts,
            closes: self.closes || other.closes,
            generation: self.generation.max(other.generation),
            ending: self.ending.max(other.ending),
            cut: self.cut.max(other.cut),
        }
    }
}

/// Waits until connections of that generation shall end.
pub async fn ends(orders: &mut Orders, generation: u64) {
    until(orders, |course| course.ending > generation).await;
}

/// Waits until they are cut.
pub async fn cut(orders: &mut Orders, generation: u64) {
    until(orders, |course| course.cut > generation).await;
}

/// Waits until they end because the proxy leaves, and for no drain.
pub async fn left(orders: &mut Orders, generation: u64) {
    until(orders, |course| !course.accepts && course.ending > generation).await;
}

/// Waits until each answer is the last one of its connection.
pub async fn closes(orders: &mut Orders) {
    until(orders, |course| course.closes).await;
}

/// Waits until nothing is accepted any more.
pub async fn closed(orders: &mut Orders) {
    until(orders, |course| !course.accepts).await;
}

/// Waits until that holds. It is asked once, and again when it has woken whoever waits: a connection asks with each of its requests, and
/// to wait on a channel takes a lock that all connections share.
async fn until(orders: &mut Orders, holds: impl FnMut(&Course) -> bool) {
    let mut wait = pin!(orders.wait_for(holds));
    let mut bell: Option<Arc<Bell>> = None;
    poll_fn(|cx| {
        let bell = match &mut bell {
            Some(bell) if bell.sleeper.will_wake(cx.waker()) => bell,
            bell => bell.insert(Arc::new(Bell::of(cx.waker()))),
        };
        if !bell.has_rung.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        // Before it is asked: what rings while it is, counts.
        bell.has_rung.store(false, Ordering::Release);
        let waker = Waker::from(Arc::clone(bell));
        // An error: whoever could say so is gone, which is an end too.
        wait.as_mut().poll(&mut Context::from_waker(&waker)).map(|_| ())
    })
    .await;
}

/// Wakes a task, and tells it that it was by this.
struct Bell {
    has_rung: AtomicBool,
    sleeper: Waker,
}

impl Bell {
    /// That has rung: nobody has listened to it yet.
    fn of(sleeper: &Waker) -> Self {
        Self { has_rung: AtomicBool::new(true), sleeper: sleeper.clone() }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.has_rung.store(true, Ordering::Release);
        self.sleeper.wake_by_ref();
    }
}

impl Life {
    /// In service. `moment` is what requests get at the end of a drain, `shutdown` what they get once the proxy leaves.
    pub fn new(moment: Duration, shutdown: Duration) -> Self {
        Self {
            course: Course::default(),
            file: None,
            told: None,
            stage: Stage::Running,
            leaving: None,
            moment,
            shutdown,
        }
    }

    /// The file says how long a drain lasts for an instance that is down; None: it is not. A drain that is on keeps its beginning.
    pub fn file(&mut self, drain: Option<Duration>, now: Instant) {
        self.file = drain.map(|drain| (self.file.map_or(now, |(since, _)| since), drain));
    }

    /// The balancer says how long a drain lasts from now on; None: it has none.
    pub fn told(&mut self, left: Option<Duration>, now: Instant) {
        self.told = left.map(|left| now + left);
    }

    /// The proxy leaves.
    pub fn leave(&mut self, now: Instant) {
        self.leaving.get_or_insert(now);
    }

    /// For a successor.
    pub fn drain(&self, now: Instant) -> Drain {
        Drain {
            since: self.file.map(|(since, _)| now.saturating_duration_since(since)),
            left: self.told.map(|end| end.saturating_duration_since(now)),
        }
    }

    /// Goes on with a predecessor's drain; to be followed by what [the file](Self::file) says.
    pub fn go_on(&mut self, drain: Drain, now: Instant) {
        self.file = drain.since.and_then(|since| Some((now.checked_sub(since)?, Duration::ZERO)));
        self.told(drain.left, now);
    }

    /// When the drain is over.
    fn end(&self) -> Option<Instant> {
        self.told.or_else(|| self.file.and_then(|(since, drain)| since.checked_add(drain)))
    }

    /// What holds at `now`.
    pub fn at(&mut self, now: Instant) -> Course {
        let end = self.end();
        let stage = match end {
            Some(end) if now >= end => Stage::Over,
            Some(end) if now + self.moment >= end => Stage::Ending,
            _ => Stage::Running,
        };
        if stage != Stage::Running && self.stage == Stage::Running {
            self.course.generation += 1;
            self.course.ending = self.course.generation;
        }
        if stage == Stage::Over && self.stage != Stage::Over {
            self.course.cut = self.course.ending;
        }
        self.stage = stage;
        self.course.closes = end.is_some() || self.leaving.is_some();
        if let Some(since) = self.leaving {
            self.course.accepts = false;
            if now >= since + self.moment {
                self.course.ending = u64::MAX;
            }
            if now >= since + self.shutdown {
                self.course.cut = u64::MAX;
            }
        }
        self.course
    }

    /// When something else will hold.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        let end = self.end();
        let leaving = self.leaving;
        let times = [
            end.and_then(|end| end.checked_sub(self.moment)),
            end,
            leaving.map(|since| since + self.moment),
            leaving.map(|since| since + self.shutdown),
        ];
        times.into_iter().flatten().filter(|time| *time > now).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Duration = Duration::from_secs(2);
    const SHUTDOWN: Duration = Duration::from_secs(10);
    const HOUR: Duration = Duration::from_secs(3600);

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// What holds at each time at which something changes, as seconds from `start`.
    fn story(life: &mut Life, start: Instant) -> Vec<(u64, Course)> {
        let mut now = start;
        let mut story = vec![(0, life.at(now))];
        while let Some(next) = life.next(now) {
            now = next;
            story.push(((now - start).as_secs(), life.at(now)));
        }
        story
    }

    fn new() -> (Life, Instant) {
        (Life::new(MOMENT, SHUTDOWN), Instant::now() + HOUR)
    }

    #[test]
    fn r83_a_drain_closes_with_each_answer_and_ends_what_is_left_within_its_time() {
        let (mut life, start) = new();
        assert_eq!(life.at(start), Course::default());
        life.told(Some(seconds(60)), start);
        let draining = Course { closes: true, ..Course::default() };
        let ending = Course { generation: 2, ending: 2, ..draining };
        let over = Course { cut: 2, ..ending };
        assert_eq!(story(&mut life, start), [(0, draining), (58, ending), (60, over)]);
        // Who comes late is served, and the drain's end does not come again.
        assert_eq!(life.at(start + HOUR), over);
        life.told(None, start + HOUR);
        assert_eq!(life.at(start + HOUR), Course { closes: false, ..over });
    }

    #[test]
    fn r4_connections_of_a_closed_listener_leave_while_the_others_stay() {
        let (mut life, start) = new();
        let orders = Course { generation: 3, ending: 2, ..Course::default() };
        life.leave(start);
        let told: Vec<_> =
            story(&mut life, start).into_iter().map(|(s, course)| (s, course.and(orders))).collect();
        let leaving = Course { accepts: false, closes: true, ..orders };
        let ending = Course { ending: u64::MAX, ..leaving };
        assert_eq!(told, [(0, leaving), (2, ending), (10, Course { cut: u64::MAX, ..ending })]);
    }

    #[test]
    fn a_drain_is_moved_and_its_end_comes_once_for_each() {
        let (mut life, start) = new();
        life.told(Some(seconds(60)), start);
        assert_eq!(life.at(start + seconds(30)).ending, 0);
        life.told(Some(seconds(60)), start + seconds(30));
        assert_eq!(life.at(start + seconds(60)).ending, 0);
        assert_eq!(life.at(start + seconds(90)).cut, 2);
        life.told(Some(seconds(60)), start + seconds(100));
        assert_eq!(life.at(start + seconds(100)).ending, 2);
        let course = life.at(start + seconds(160));
        assert_eq!((course.ending, course.cut, course.generation), (3, 3, 3));
        // One without any time left.
        let (mut life, start) = new();
        life.told(Some(Duration::ZERO), start);
        assert_eq!((life.at(start).ending, life.at(start).cut), (2, 2));
    }

    #[test]
    fn r83_the_file_drains_from_when_it_first_said_so_and_the_balancer_knows_better() {
        let (mut life, start) = new();
        life.file(Some(HOUR), start);
        life.file(Some(seconds(60)), start + seconds(30));
        assert_eq!(life.next(start + seconds(30)), Some(start + seconds(58)));
        life.told(Some(seconds(100)), start + seconds(30));
        assert_eq!(life.next(start + seconds(30)), Some(start + seconds(128)));
        life.told(None, start + seconds(30));
        assert!(life.at(start + seconds(30)).closes);
        life.file(None, start + seconds(40));
        assert_eq!((life.at(start + seconds(40)), life.next(start)), (Course::default(), None));
    }

    #[test]
    fn a_successor_goes_on_with_the_drain() {
        let (mut life, start) = new();
        life.file(Some(HOUR), start);
        life.told(Some(seconds(60)), start);
        let (mut next, now) = (new().0, start + seconds(20));
        next.go_on(life.drain(now), now);
        next.file(Some(HOUR), now);
        assert_eq!(next.next(now), Some(start + seconds(58)));
        next.told(None, now);
        assert_eq!(next.next(now), Some(start + HOUR - MOMENT));
    }

    #[test]
    fn leaving_closes_with_each_answer_then_ends_idle_connections_then_cuts() {
        let (mut life, start) = new();
        life.leave(start);
        let leaving = Course { accepts: false, closes: true, ..Course::default() };
        let ending = Course { ending: u64::MAX, ..leaving };
        let cut = Course { cut: u64::MAX, ..ending };
        assert_eq!(story(&mut life, start), [(0, leaving), (2, ending), (10, cut)]);
    }

    #[tokio::test]
    async fn orders_are_heard_however_often_was_asked_and_whoever_waits() {
        let (tell, mut orders) = watch::channel(Course::default());
        let mut end = pin!(ends(&mut orders, 1));
        let mut nobody = Context::from_waker(Waker::noop());
        for closes in [false, false, true, true] {
            assert!(end.as_mut().poll(&mut nobody).is_pending());
            tell.send_modify(|course| course.closes = closes);
        }
        let later = tokio::spawn(async move { tell.send_modify(|course| course.ending = 2) });
        end.await;
        later.await.unwrap();
    }

    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    /// Who is asked by others at the very moment at which an order is given.
    #[test]
    fn no_order_is_missed_by_who_is_woken_by_others_meanwhile() {
        for _ in 0..3_000 {
            let (tell, mut orders) = watch::channel(Course::default());
            let mut end = pin!(ends(&mut orders, 1));
            let woken = Arc::new(Woken(AtomicBool::new(false)));
            let waker = Waker::from(Arc::clone(&woken));
            let mut poll = || end.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
            let is_told = AtomicBool::new(false);
            let mut has_ended = std::thread::scope(|scope| {
                scope.spawn(|| {
                    tell.send_modify(|course| course.ending = 2);
                    is_told.store(true, Ordering::SeqCst);
                });
                loop {
                    let was_told = is_told.load(Ordering::SeqCst);
                    woken.0.store(false, Ordering::SeqCst);
                    let has_ended = poll();
                    if has_ended || was_told {
                        break has_ended;
                    }
                }
            });
            while !has_ended {
                assert!(woken.0.swap(false, Ordering::SeqCst), "nobody asks any more");
                has_ended = poll();
            }
        }
    }

    #[tokio::test]
    async fn who_could_give_orders_and_is_gone_ends_it() {
        let (tell, mut orders) = watch::channel(Course::default());
        let later = tokio::spawn(async move { drop(tell) });
        ends(&mut orders, 1).await;
        later.await.unwrap();
    }
}
