//! Just enough protobuf to take what `kubectl create deployment`, `create configmap`, `auth can-i` and the like send: they
//! speak nothing else. Reads known messages into the JSON that they stand for; a field it does not know is named and refused.
//!
//! Field numbers are those of Kubernetes' `generated.proto` files, where they never change.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// A field: number, name, whether it repeats, what it holds.
type Field = (u64, &'static str, bool, Holds);

#[derive(Clone, Copy)]
enum Holds {
    Text,
    /// As base64.
    Bytes,
    /// A number that is written also where nobody set it: zero is absent.
    Number,
    /// A number that is written only where somebody set it.
    Given,
    /// Absent where false.
    Flag,
    Message(&'static [Field]),
    /// From text.
    Map(&'static Holds),
    Quantity,
    NumberOrText,
    /// Set by the server: passed over.
    Ignored,
}
use Holds::{Bytes, Flag, Given, Ignored, Map as MapOf, Message, Number, NumberOrText, Quantity, Text};

const METADATA: &[Field] = &[
    (1, "name", false, Text),
    (2, "generateName", false, Text),
    (3, "namespace", false, Text),
    (4, "selfLink", false, Ignored),
    (5, "uid", false, Text),
    (6, "resourceVersion", false, Text),
    (7, "generation", false, Ignored),
    (8, "creationTimestamp", false, Ignored),
    (11, "labels", false, MapOf(&Text)),
    (12, "annotations", false, MapOf(&Text)),
    (14, "finalizers", true, Text),
];
const SELECTOR: &[Field] = &[(1, "matchLabels", false, MapOf(&Text))];
const PORT: &[Field] = &[
    (1, "name", false, Text),
    (2, "hostPort", false, Number),
    (3, "containerPort", false, Number),
    (4, "protocol", false, Text),
    (5, "hostIP", false, Text),
];
const RESOURCES: &[Field] = &[(1, "limits", false, MapOf(&Quantity)), (2, "requests", false, MapOf(&Quantity))];
const ENV: &[Field] = &[(1, "name", false, Text), (2, "value", false, Text)];
const CONTAINER: &[Field] = &[
    (1, "name", false, Text),
    (2, "image", false, Text),
    (3, "command", true, Text),
    (4, "args", true, Text),
    (5, "workingDir", false, Text),
    (6, "ports", true, Message(PORT)),
    (7, "env", true, Message(ENV)),
    (8, "resources", false, Message(RESOURCES)),
    (13, "terminationMessagePath", false, Text),
    (14, "imagePullPolicy", false, Text),
    (16, "stdin", false, Flag),
    (17, "stdinOnce", false, Flag),
    (18, "tty", false, Flag),
    (20, "terminationMessagePolicy", false, Text),
];
const POD_SPEC: &[Field] = &[
    (2, "containers", true, Message(CONTAINER)),
    (3, "restartPolicy", false, Text),
    (4, "terminationGracePeriodSeconds", false, Given),
    (6, "dnsPolicy", false, Text),
    (7, "nodeSelector", false, MapOf(&Text)),
    (8, "serviceAccountName", false, Text),
    (9, "serviceAccount", false, Text),
    (10, "nodeName", false, Text),
    (11, "hostNetwork", false, Flag),
    (12, "hostPID", false, Flag),
    (13, "hostIPC", false, Flag),
    (16, "hostname", false, Text),
    (17, "subdomain", false, Text),
    (19, "schedulerName", false, Text),
    (20, "initContainers", true, Message(CONTAINER)),
    (24, "priorityClassName", false, Text),
];
const TEMPLATE: &[Field] = &[(1, "metadata", false, Message(METADATA)), (2, "spec", false, Message(POD_SPEC))];
const ROLLING: &[Field] = &[(1, "maxUnavailable", false, NumberOrText), (2, "maxSurge", false, NumberOrText)];
const STRATEGY: &[Field] = &[(1, "type", false, Text), (2, "rollingUpdate", false, Message(ROLLING))];
const DEPLOYMENT_SPEC: &[Field] = &[
    (1, "replicas", false, Given),
    (2, "selector", false, Message(SELECTOR)),
    (3, "template", false, Message(TEMPLATE)),
    (4, "strategy", false, Message(STRATEGY)),
    (5, "minReadySeconds", false, Number),
    (6, "revisionHistoryLimit", false, Given),
    (7, "paused", false, Flag),
    (9, "progressDeadlineSeconds", false, Given),
];
const SERVICE_PORT: &[Field] = &[
    (1, "name", false, Text),
    (2, "protocol", false, Text),
    (3, "port", false, Number),
    (4, "targetPort", false, NumberOrText),
    (5, "nodePort", false, Number),
];
const SERVICE_SPEC: &[Field] = &[
    (1, "ports", true, Message(SERVICE_PORT)),
    (2, "selector", false, MapOf(&Text)),
    (3, "clusterIP", false, Text),
    (4, "type", false, Text),
    (7, "sessionAffinity", false, Text),
    (8, "loadBalancerIP", false, Text),
    (10, "externalName", false, Text),
    (11, "externalTrafficPolicy", false, Text),
    (12, "healthCheckNodePort", false, Number),
    (13, "publishNotReadyAddresses", false, Flag),
];
const ATTRIBUTES: &[Field] = &[
    (1, "namespace", false, Text),
    (2, "verb", false, Text),
    (3, "group", false, Text),
    (4, "version", false, Text),
    (5, "resource", false, Text),
    (6, "subresource", false, Text),
    (7, "name", false, Text),
];
const OTHER_ATTRIBUTES: &[Field] = &[(1, "path", false, Text), (2, "verb", false, Text)];
const REVIEW_SPEC: &[Field] = &[
    (1, "resourceAttributes", false, Message(ATTRIBUTES)),
    (2, "nonResourceAttributes", false, Message(OTHER_ATTRIBUTES)),
];
const RULES_SPEC: &[Field] = &[(1, "namespace", false, Text)];

fn fields_of(kind: &str) -> Option<&'static [Field]> {
    const HEAD: Field = (1, "metadata", false, Message(METADATA));
    const STATUS: Field = (3, "status", false, Ignored);
    Some(match kind {
        "Namespace" => &[HEAD, (2, "spec", false, Ignored), STATUS],
        "ServiceAccount" => &[HEAD],
        "ConfigMap" => &[
            HEAD,
            (2, "data", false, MapOf(&Text)),
            (3, "binaryData", false, MapOf(&Bytes)),
            (4, "immutable", false, Flag),
        ],
        "Secret" => &[
            HEAD,
            (2, "data", false, MapOf(&Bytes)),
            (3, "type", false, Text),
            (4, "stringData", false, MapOf(&Text)),
            (5, "immutable", false, Flag),
        ],
        "Pod" => &[HEAD, (2, "spec", false, Message(POD_SPEC)), STATUS],
        "Deployment" => &[HEAD, (2, "spec", false, Message(DEPLOYMENT_SPEC)), STATUS],
        "Service" => &[HEAD, (2, "spec", false, Message(SERVICE_SPEC)), STATUS],
        "DeleteOptions" => &[
            (1, "gracePeriodSeconds", false, Given),
            (2, "preconditions", false, Message(&[(1, "uid", false, Text), (2, "resourceVersion", false, Text)])),
            (3, "orphanDependents", false, Flag),
            (4, "propagationPolicy", false, Text),
            (5, "dryRun", true, Text),
        ],
        "SelfSubjectAccessReview" => &[HEAD, (2, "spec", false, Message(REVIEW_SPEC)), STATUS],
        "SelfSubjectRulesReview" => &[HEAD, (2, "spec", false, Message(RULES_SPEC)), STATUS],
        _ => return None,
    })
}

/// What stands on the wire behind a field's number.
enum Wire<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// The next field; `Some(None)` at the end.
    fn field(&mut self) -> Option<Option<(u64, Wire<'a>)>> {
        if self.0.is_empty() {
            return Some(None);
        }
        let tag = self.varint()?;
        let wire = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                let (bytes, rest) = self.0.split_at_checked(length)?;
                self.0 = rest;
                Wire::Bytes(bytes)
            }
            _ => return None,
        };
        Some(Some((tag >> 3, wire)))
    }
}

/// A body of `application/vnd.kubernetes.protobuf` as JSON; else what it cannot read.
pub(super) fn read(body: &[u8]) -> Result<Value, String> {
    let garbled = || "a body that is no protobuf of Kubernetes".to_owned();
    let mut envelope = Reader(body.strip_prefix(b"k8s\0").ok_or_else(garbled)?);
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    while let Some((number, wire)) = envelope.field().ok_or_else(garbled)? {
        match (number, wire) {
            (1, Wire::Bytes(meta)) => {
                const META: &[Field] = &[(1, "apiVersion", false, Text), (2, "kind", false, Text)];
                let meta = message(meta, META, "typeMeta")?;
                let text = |field: &str| meta[field].as_str().unwrap_or_default().to_owned();
                (api_version, kind) = (text("apiVersion"), text("kind"));
            }
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let fields = fields_of(&kind).ok_or_else(|| format!("a {kind} in protobuf"))?;
    let mut value = message(raw, fields, &kind)?;
    value["apiVersion"] = api_version.into();
    value["kind"] = kind.into();
    Ok(value)
}

fn message(bytes: &[u8], fields: &[Field], path: &str) -> Result<Value, String> {
    let mut reader = Reader(bytes);
    let mut object = Map::new();
    let garbled = || format!("{path}, which is cut off");
    while let Some((number, wire)) = reader.field().ok_or_else(garbled)? {
        let Some((_, name, repeats, holds)) = fields.iter().find(|f| f.0 == number) else {
            return Err(format!("field {number} of {path} in protobuf"));
        };
        let path = format!("{path}.{name}");
        if let MapOf(values) = holds {
            let Wire::Bytes(entry) = wire else { return Err(garbled()) };
            let (key, value) = map_entry(entry, values, &path)?;
            let map = object.entry(*name).or_insert_with(|| json!({}));
            map[key] = value;
            continue;
        }
        let Some(value) = value(&wire, *holds, &path)? else { continue };
        if *repeats {
            let list = object.entry(*name).or_insert_with(|| json!([]));
            list.as_array_mut().expect("made a list above").push(value);
        } else if value != "" && value != json!({}) {
            object.insert((*name).to_owned(), value);
        }
    }
    Ok(object.into())
}

fn map_entry(entry: &[u8], values: &Holds, path: &str) -> Result<(String, Value), String> {
    let garbled = || format!("{path}, which is cut off");
    let mut reader = Reader(entry);
    let (mut key, mut found) = (String::new(), json!(""));
    while let Some((number, wire)) = reader.field().ok_or_else(garbled)? {
        match number {
            1 => key = value(&wire, Text, path)?.and_then(|k| k.as_str().map(str::to_owned)).unwrap_or_default(),
            _ => found = value(&wire, *values, path)?.unwrap_or(json!("")),
        }
    }
    Ok((key, found))
}

/// What a field holds; `None`: as good as absent.
fn value(wire: &Wire<'_>, holds: Holds, path: &str) -> Result<Option<Value>, String> {
    let signed = |number: u64| number.cast_signed();
    Ok(match (holds, wire) {
        (Ignored, _) => None,
        (Text, Wire::Bytes(text)) => {
            let text = std::str::from_utf8(text).map_err(|_| format!("{path}, which is no UTF-8"))?;
            Some(text.into())
        }
        (Bytes, Wire::Bytes(bytes)) => Some(STANDARD.encode(bytes).into()),
        (Number, Wire::Varint(number)) => (*number != 0).then(|| signed(*number).into()),
        (Given, Wire::Varint(number)) => Some(signed(*number).into()),
        (Flag, Wire::Varint(flag)) => (*flag != 0).then(|| true.into()),
        (Message(fields), Wire::Bytes(bytes)) => Some(message(bytes, fields, path)?),
        (Quantity, Wire::Bytes(bytes)) => {
            let quantity = message(bytes, &[(1, "string", false, Text)], path)?;
            Some(quantity["string"].clone())
        }
        (NumberOrText, Wire::Bytes(bytes)) => {
            const EITHER: &[Field] =
                &[(1, "type", false, Number), (2, "number", false, Number), (3, "text", false, Text)];
            let either = message(bytes, EITHER, path)?;
            match (either.get("type"), either.get("number"), either.get("text")) {
                (Some(_), _, Some(text)) => Some(text.clone()),
                (None, Some(number), _) => Some(number.clone()),
                _ => None,
            }
        }
        _ => return Err(format!("{path}, which is not of its type")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, u8::try_from(content.len()).unwrap()], content].concat()
    }

    fn body(kind: &str, raw: &[u8]) -> Vec<u8> {
        let meta = [field(1, b"v1"), field(2, kind.as_bytes())].concat();
        [b"k8s\0".to_vec(), field(1, &meta), field(2, raw)].concat()
    }

    #[test]
    fn a_config_map_is_read_and_what_is_unknown_is_named() {
        let metadata = field(1, &[field(1, b"c"), field(2, b""), field(8, b"")].concat());
        let data = field(2, &[field(1, b"key"), field(2, b"value")].concat());
        let whole = body("ConfigMap", &[metadata.clone(), data].concat());
        let expected =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"key": "value"}});
        assert_eq!(read(&whole), Ok(expected));
        assert_eq!(read(&body("Job", b"")), Err("a Job in protobuf".to_owned()));
        let odd = body("ConfigMap", &[metadata, field(9, b"x")].concat());
        assert_eq!(read(&odd), Err("field 9 of ConfigMap in protobuf".to_owned()));
        for end in 0..whole.len() {
            // Whatever is cut off: an answer, and no panic.
            read(&whole[..end]).map(drop).unwrap_or_default();
        }
    }
}
