//! Questions in a row, each with what has to come.

use super::*;
use crate::dns::{
    Serial,
    records::testing::{model_with_names, records},
};

fn zones() -> Zones {
    Zones::new(&records(), false)
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.id = 4711;
    message.metadata.recursion_desired = true;
    message.queries.push(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn decide(zones: &Zones, message: &Message) -> Decision {
    zones.decide(&message.to_vec().unwrap(), Viewer::Inside, Transport::Udp)
}

fn answered(decision: Decision) -> Answer {
    match decision {
        Decision::Answer(answer) => answer,
        other => panic!("{other:?}"),
    }
}

/// The answer as others read it.
fn read(answer: &Answer) -> Message {
    Message::from_vec(&answer.to_bytes().unwrap()).unwrap()
}

fn ask(name: &str, kind: RecordType) -> Message {
    read(&answered(decide(&zones(), &question(name, kind))))
}

/// Type and data of each.
fn texts(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| format!("{} {} {}", record.name, record.record_type(), record.data)).collect()
}

#[test]
fn r52_a_full_name_has_its_records_of_each_type() {
    use RecordType as T;
    for (kind, expected) in [
        (T::A, vec!["contoso.azure-api.net. A 10.0.0.5"]),
        (T::AAAA, vec!["contoso.azure-api.net. AAAA fd00:0:0:1::5"]),
        (T::NS, vec!["contoso.azure-api.net. NS contoso.azure-api.net."]),
        (T::ANY, vec!["contoso.azure-api.net. A 10.0.0.5"]),
        (
            T::SOA,
            vec![
                "contoso.azure-api.net. SOA contoso.azure-api.net. hostmaster.contoso.azure-api.net. 1800000000 3600 600 86400 60",
            ],
        ),
    ] {
        let answer = ask("contoso.azure-api.net.", kind);
        assert_eq!(texts(&answer.answers), expected, "{kind}");
        assert!(answer.answers.iter().all(|record| record.ttl == 60));
        assert!(answer.metadata.authoritative && answer.authorities.is_empty());
        assert_eq!((answer.metadata.id, answer.metadata.response_code), (4711, ResponseCode::NoError));
        assert!(answer.metadata.recursion_desired && !answer.metadata.recursion_available);
    }
    let answer = ask("contoso.azure-api.net.", T::HTTPS);
    assert_eq!(answer.answers[0].data, RData::HTTPS(https::data(&records())));
}

#[test]
fn r52_what_a_name_does_not_have_is_said_with_its_soa() {
    for (name, kind, code) in [
        ("contoso.azure-api.net.", RecordType::MX, ResponseCode::NoError),
        ("contoso.azure-api.net.", RecordType::Unknown(4242), ResponseCode::NoError),
        ("through.contoso.com.", RecordType::HTTPS, ResponseCode::NoError),
        ("nobody.contoso.azure-api.net.", RecordType::A, ResponseCode::NXDomain),
        ("a.b.contoso.azure-api.net.", RecordType::AAAA, ResponseCode::NXDomain),
        // One label deep and no deeper (R44).
        ("a.b.shop.contoso.com.", RecordType::A, ResponseCode::NXDomain),
    ] {
        let answer = ask(name, kind);
        assert_eq!(answer.metadata.response_code, code, "{name} {kind}");
        assert!(answer.answers.is_empty() && answer.metadata.authoritative, "{name} {kind}");
        let [soa] = &answer.authorities[..] else { panic!("{name} {kind}: {answer:?}") };
        assert!(soa.name.zone_of(&Name::from_ascii(name).unwrap()), "{name}: {}", soa.name);
        assert_eq!((soa.record_type(), soa.ttl), (RecordType::SOA, 60));
    }
}

#[test]
fn r52_no_parent_is_hidden() {
    for name in ["azure-api.net.", "other.azure-api.net.", "contoso.com.", "shop.contoso.com.", "net.", "."] {
        let answer = ask(name, RecordType::A);
        assert_eq!(answer.metadata.response_code, ResponseCode::Refused, "{name}");
        assert!(!answer.metadata.authoritative && answer.authorities.is_empty(), "{name}");
    }
}

#[test]
fn r44_a_wildcard_is_one_label_deep_and_an_exact_name_beats_it() {
    let answer = ask("any.shop.contoso.com.", RecordType::A);
    assert_eq!(texts(&answer.answers), ["any.shop.contoso.com. A 10.0.0.5"]);
    let soa = &ask("any.shop.contoso.com.", RecordType::TXT).authorities[0];
    assert_eq!(soa.name.to_string(), "any.shop.contoso.com.");
    // Below a name of ours, `test` is a name that the wildcard stands for; what is below it is not.
    let answer = ask("test.api.contoso.com.", RecordType::A);
    assert_eq!(texts(&answer.answers), ["test.api.contoso.com. A 10.0.0.5"]);
    assert_eq!(ask("v1.test.api.contoso.com.", RecordType::A).answers.len(), 1);
    assert_eq!(ask("v2.test.api.contoso.com.", RecordType::A).metadata.response_code, ResponseCode::NXDomain);
}

#[test]
fn a_name_that_only_has_names_below_it_is_there() {
    let mut model = model_with_names();
    model.endpoints[1].hosts.retain(|host| host.to_string() != "*.api.contoso.com");
    let zones = Zones::new(&Records::new(&model, Serial(1)), false);
    let code = |name: &str| {
        let answer = answered(decide(&zones, &question(name, RecordType::A)));
        (answer.message.metadata.response_code, answer.outcome)
    };
    assert_eq!(code("test.api.contoso.com."), (ResponseCode::NoError, Outcome::NoData));
    assert_eq!(code("other.api.contoso.com."), (ResponseCode::NXDomain, Outcome::NoName));
}

#[test]
fn names_compare_without_case_and_come_back_as_they_were_asked() {
    let answer = ask("CoNtOsO.Azure-API.net.", RecordType::A);
    assert_eq!(answer.queries[0].name().to_string(), "CoNtOsO.Azure-API.net.");
    assert_eq!(answer.answers[0].name.to_string(), "CoNtOsO.Azure-API.net.");
}

#[test]
fn r03_who_is_outside_never_gets_an_address() {
    let zones = zones();
    for (source, expected) in [
        ("10.0.0.99", Viewer::Inside),
        ("::ffff:10.0.0.99", Viewer::Inside),
        ("127.0.0.1", Viewer::Inside),
        ("::1", Viewer::Inside),
        ("10.0.1.99", Viewer::Outside),
        ("198.51.100.7", Viewer::Outside),
        ("2001:db8::7", Viewer::Outside),
    ] {
        assert_eq!(zones.viewer(source.parse().unwrap()), expected, "{source}");
    }
    let forwarding = Zones::new(&records(), true);
    for name in ["contoso.azure-api.net.", "example.com."] {
        let bytes = question(name, RecordType::A).to_vec().unwrap();
        for zones in [&zones, &forwarding] {
            let answer = answered(zones.decide(&bytes, Viewer::Outside, Transport::Udp));
            assert_eq!(answer.message.metadata.response_code, ResponseCode::Refused);
            let sent = answer.to_bytes().unwrap();
            assert!(sent.len() < bytes.len(), "no amplification");
            assert_eq!(Message::from_vec(&sent).unwrap().answers, []);
        }
    }
}

#[test]
fn other_names_are_forwarded_where_that_is_wanted() {
    let zones = Zones::new(&records(), true);
    assert!(matches!(decide(&zones, &question("example.com.", RecordType::MX)), Decision::Forward(_)));
    assert!(matches!(decide(&zones, &question("contoso.com.", RecordType::A)), Decision::Forward(_)));
    for (name, kind) in
        [("contoso.azure-api.net.", RecordType::MX), ("x.contoso.azure-api.net.", RecordType::A)]
    {
        assert!(matches!(decide(&zones, &question(name, kind)), Decision::Answer(_)), "{name} is ours");
    }
}

#[test]
fn transfers_and_other_classes_are_refused() {
    for zones in [zones(), Zones::new(&records(), true)] {
        for (name, kind, class) in [
            ("contoso.azure-api.net.", RecordType::AXFR, DNSClass::IN),
            ("contoso.azure-api.net.", RecordType::IXFR, DNSClass::IN),
            ("example.com.", RecordType::AXFR, DNSClass::IN),
            ("version.bind.", RecordType::TXT, DNSClass::CH),
            ("contoso.azure-api.net.", RecordType::A, DNSClass::ANY),
        ] {
            let mut message = question(name, kind);
            message.queries[0].set_query_class(class);
            let answer = answered(decide(&zones, &message));
            assert_eq!(answer.message.metadata.response_code, ResponseCode::Refused, "{name} {kind} {class}");
            assert!(answer.message.answers.is_empty());
        }
    }
}

#[test]
fn edns_is_answered_by_edns_and_another_version_by_badvers() {
    let mut message = question("contoso.azure-api.net.", RecordType::A);
    assert!(read(&answered(decide(&zones(), &message))).edns.is_none());
    let mut edns = Edns::new();
    edns.set_max_payload(4096).set_dnssec_ok(true);
    message.edns = Some(edns.clone());
    let answer = answered(decide(&zones(), &message));
    assert_eq!(answer.limit, MOST_UDP);
    let ours = read(&answer).edns.unwrap();
    assert_eq!((ours.version(), ours.max_payload(), ours.flags().dnssec_ok), (0, MOST_UDP, true));
    edns.set_max_payload(100).set_version(1);
    message.edns = Some(edns);
    let answer = answered(decide(&zones(), &message));
    assert_eq!(answer.limit, LEAST);
    let read = read(&answer);
    // hickory reads 16 as BADSIG, which has the same number.
    assert_eq!(u16::from(read.metadata.response_code), u16::from(ResponseCode::BADVERS));
    assert_eq!(read.edns.unwrap().version(), 0);
    assert!(read.answers.is_empty());
}

#[test]
fn what_cannot_be_understood_is_told_so_and_what_is_no_question_is_not_answered() {
    let zones = zones();
    let good = question("contoso.azure-api.net.", RecordType::A).to_vec().unwrap();
    let decide = |bytes: &[u8]| zones.decide(bytes, Viewer::Inside, Transport::Udp);
    let code = |bytes: &[u8]| answered(decide(bytes)).message.metadata.response_code;
    for length in 0..12 {
        assert!(matches!(decide(&good[..length]), Decision::Silence), "{length} bytes");
    }
    for length in 12..good.len() {
        assert_eq!(code(&good[..length]), ResponseCode::FormErr, "{length} bytes");
    }
    let mut response = good.clone();
    response[2] |= 0x80;
    assert!(matches!(decide(&response), Decision::Silence));
    let mut none = good[..12].to_vec();
    none[5] = 0;
    assert_eq!(code(&none), ResponseCode::FormErr, "no question");
    let mut two = question("contoso.azure-api.net.", RecordType::A);
    two.queries.push(two.queries[0].clone());
    assert_eq!(code(&two.to_vec().unwrap()), ResponseCode::FormErr, "two questions");
    // A name that points at itself.
    let mut circle = good[..12].to_vec();
    circle.extend([0xc0, 12, 0, 1, 0, 1]);
    assert_eq!(code(&circle), ResponseCode::FormErr, "a pointer to itself");
    for op_code in [OpCode::Status, OpCode::Notify, OpCode::Update] {
        let mut other = question("contoso.azure-api.net.", RecordType::SOA);
        other.metadata.op_code = op_code;
        assert_eq!(code(&other.to_vec().unwrap()), ResponseCode::NotImp, "{op_code:?}");
    }
}

#[test]
fn what_does_not_fit_is_cut_and_says_so() {
    let query = question("contoso.azure-api.net.", RecordType::A);
    let mut answer = answered(decide(&zones(), &query));
    let record = answer.message.answers[0].clone();
    answer.message.answers = vec![record; 100];
    answer.message.edns = Some(Edns::new());
    let read = read(&answer);
    assert!(read.metadata.truncation && read.answers.is_empty() && read.edns.is_some());
    answer.limit = MOST_TCP;
    assert_eq!(Message::from_vec(&answer.to_bytes().unwrap()).unwrap().answers.len(), 100);
}

#[test]
fn random_bytes_never_make_it_fall() {
    use proptest::prelude::*;
    let zones = Zones::new(&records(), true);
    let good = question("contoso.azure-api.net.", RecordType::A).to_vec().unwrap();
    proptest!(ProptestConfig::with_cases(4_000), |(noise in prop::collection::vec((0..64usize, any::<u8>()), 1..6), tail in prop::collection::vec(any::<u8>(), 0..40))| {
        let mut bytes = good.clone();
        bytes.extend(tail);
        for (at, byte) in noise {
            let length = bytes.len();
            bytes[at % length] = byte;
        }
        if let Decision::Answer(answer) = zones.decide(&bytes, Viewer::Inside, Transport::Udp) {
            let sent = answer.to_bytes();
            prop_assert!(sent.is_none_or(|sent| sent.len() <= usize::from(MOST_UDP)));
        }
    });
}
