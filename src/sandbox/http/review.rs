//! Access reviews: everything is allowed but what a scripted fault forbids.

use super::{Answer, Api, json_answer};
use crate::sandbox::object::text_at;
use crate::sandbox::resource::qualify;
use crate::sandbox::status::{Cause, Status};
use bytes::Bytes;
use serde_json::{Value, json};

/// Answers a review.
pub(super) fn answer(api: &Api, review: &str, mut body: Value) -> Answer {
    if !body.is_object() {
        return Err(Status::bad_request("the body is no object"));
    }
    body["apiVersion"] = "authorization.k8s.io/v1".into();
    match review {
        "selfsubjectaccessreviews" => {
            body["kind"] = "SelfSubjectAccessReview".into();
            let asks = |what: &str| body.pointer(&format!("/spec/{what}")).is_some_and(Value::is_object);
            if !asks("resourceAttributes") && !asks("nonResourceAttributes") {
                let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
                let cause = Cause::invalid("spec", &Value::Null, why);
                let mut status = Status::new(
                    422,
                    "Invalid",
                    format!(".authorization.k8s.io \"\" is invalid: spec: {}", cause.message),
                );
                let cause = json!({"reason": cause.reason, "message": cause.message, "field": cause.field});
                status.details.insert("group".into(), "authorization.k8s.io".into());
                status.details.insert("causes".into(), json!([cause]));
                return Err(status);
            }
            let asked = |field: &str| text_at(&body, &format!("/spec/resourceAttributes/{field}")).to_owned();
            let denied = api.faults.denies(&asked("verb"), &qualify(&asked("resource"), &asked("group")));
            body["status"] = if denied {
                json!({"allowed": false, "reason": "a scripted fault of the sandbox forbids it"})
            } else {
                json!({"allowed": true, "reason": "the sandbox allows everything"})
            };
        }
        "selfsubjectrulesreviews" => {
            body["kind"] = "SelfSubjectRulesReview".into();
            body["status"] = json!({
                "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
                "incomplete": false,
            });
        }
        _ => return Err(Status::no_such_resource()),
    }
    Ok(json_answer(201, Bytes::from(body.to_string())))
}
