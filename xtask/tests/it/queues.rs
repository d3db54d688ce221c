//! Every queue can fail without losing anything, and so can the table's stream.

use serde_json::{Value, json};

use crate::{target, template};

/// Seconds that a function may take.
fn timeout(properties: &Value) -> u64 {
    let template = template();
    let default = template.json()["Globals"]["Function"]["Timeout"].as_u64();
    properties["Timeout"].as_u64().or(default).unwrap()
}

/// What feeds a function from this attribute of a queue (`Arn`) or the table (`StreamArn`): the function, its properties,
/// the mapping's properties.
fn sources(attribute: &str) -> Vec<(String, Value, Value)> {
    let template = template();
    template
        .of_type("AWS::Lambda::EventSourceMapping")
        .filter(|(_, mapping)| mapping["EventSourceArn"]["Fn::GetAtt"][1] == attribute)
        .map(|(_, mapping)| {
            let id = target(&mapping["FunctionName"]).unwrap();
            let function = template.json()["Resources"][id]["Properties"].clone();
            (id.to_owned(), function, mapping.clone())
        })
        .collect()
}

#[test]
fn every_queue_has_a_dead_letter_queue_and_every_dead_letter_queue_an_alarm() {
    let template = template();
    for (id, queue) in template.of_type("AWS::SQS::Queue") {
        if id.ends_with("Dlq") {
            let watched = template.of_type("AWS::CloudWatch::Alarm").any(|(_, alarm)| {
                alarm["MetricName"] == "ApproximateNumberOfMessagesVisible"
                    && target(&alarm["Dimensions"][0]["Value"]) == Some(id)
                    && alarm["Threshold"] == 1
            });
            assert!(watched, "nobody hears of messages in {id}");
            assert_eq!(
                queue["MessageRetentionPeriod"], 1_209_600,
                "{id} forgets before the 14 days are over"
            );
        } else {
            let dead = target(&queue["RedrivePolicy"]["deadLetterTargetArn"]);
            assert_eq!(
                dead,
                Some(id.replace("Queue", "Dlq").as_str()),
                "{id} has no dead-letter queue"
            );
        }
    }
}

#[test]
fn every_reader_of_a_queue_reports_single_failures_and_has_a_sixth_of_the_visibility_timeout() {
    let template = template();
    let readers = sources("Arn");
    for (id, properties, source) in &readers {
        let queue = target(&source["EventSourceArn"]).unwrap();
        let visibility = template.json()["Resources"][queue]["Properties"]["VisibilityTimeout"]
            .as_u64()
            .unwrap();
        assert!(
            visibility >= 6 * timeout(properties),
            "{queue}: {visibility} s is too short for {id}"
        );
        assert_eq!(
            source["FunctionResponseTypes"],
            json!(["ReportBatchItemFailures"]),
            "{id}"
        );
        assert!(
            source["ScalingConfig"]["MaximumConcurrency"].as_u64() >= Some(2),
            "{id} may take everything"
        );
    }
    let read: Vec<_> = readers
        .iter()
        .filter_map(|(_, _, source)| target(&source["EventSourceArn"]))
        .collect();
    for (id, _) in template.of_type("AWS::SQS::Queue") {
        assert!(id.ends_with("Dlq") || read.contains(&id), "nobody reads {id}");
    }
}

#[test]
fn the_stream_reports_single_failures_and_keeps_what_it_gives_up() {
    let sources = sources("StreamArn");
    assert!(!sources.is_empty());
    for (id, _, source) in sources {
        assert_eq!(
            source["FunctionResponseTypes"],
            json!(["ReportBatchItemFailures"]),
            "{id}"
        );
        assert_eq!(source["BisectBatchOnFunctionError"], true, "{id}");
        assert!(source["MaximumRetryAttempts"].is_u64(), "{id} tries for ever");
        let lost = target(&source["DestinationConfig"]["OnFailure"]["Destination"]);
        assert!(
            lost.is_some_and(|queue| queue.ends_with("Dlq")),
            "{id} loses what it gives up"
        );
    }
}

#[test]
fn the_table_can_be_restored_and_not_be_deleted_by_mistake() {
    let template = template();
    let (id, table) = template.of_type("AWS::DynamoDB::Table").next().unwrap();
    assert_eq!(
        table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"],
        true
    );
    assert_eq!(table["DeletionProtectionEnabled"], true);
    assert_eq!(table["SSESpecification"]["SSEEnabled"], true);
    assert_eq!(table["TimeToLiveSpecification"]["AttributeName"], "ttl");
    assert_eq!(template.json()["Resources"][id]["DeletionPolicy"], "Retain");
    assert_eq!(template.json()["Resources"][id]["UpdateReplacePolicy"], "Retain");
}

#[test]
fn files_are_private_encrypted_sent_over_tls_and_forgotten() {
    let template = template();
    for (id, bucket) in template.of_type("AWS::S3::Bucket") {
        let block = bucket["PublicAccessBlockConfiguration"].as_object().unwrap();
        assert!(
            block.len() == 4 && block.values().all(|blocked| *blocked == true),
            "{id}"
        );
        assert!(
            bucket["BucketEncryption"].is_object(),
            "{id} keeps files as they are"
        );
        let rule = &bucket["LifecycleConfiguration"]["Rules"][0];
        assert_eq!(rule["Status"], "Enabled", "{id}");
        assert!(
            rule["ExpirationInDays"].as_u64() <= Some(7)
                && rule["AbortIncompleteMultipartUpload"].is_object(),
            "{id}"
        );
        let denied = template.of_type("AWS::S3::BucketPolicy").any(|(_, policy)| {
            let statement = &policy["PolicyDocument"]["Statement"][0];
            target(&policy["Bucket"]) == Some(id)
                && statement["Effect"] == "Deny"
                && statement["Condition"]["Bool"]["aws:SecureTransport"] == "false"
        });
        assert!(denied, "{id} may be read without TLS");
    }
}
