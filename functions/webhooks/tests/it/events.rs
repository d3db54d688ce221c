//! The example events are requests that these functions take.

use lambda_kit::http::Request;

#[test]
fn the_example_events_decode_as_lambda_would() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.starts_with("webhook-") {
            let request = Request::from_event(&std::fs::read_to_string(&path).unwrap()).unwrap();
            let words = ["call", "sms", "passthru", "heartbeat"];
            let word = words.iter().find(|word| name.contains(*word)).unwrap();
            // A flow asks with a GET.
            let said = request.bytes(65_536).unwrap().len() + request.raw_query().len();
            assert!(request.raw_path().contains(word) && said > 100, "{name}");
            seen += 1;
        }
    }
    assert!(seen >= 6, "{seen}");
}
