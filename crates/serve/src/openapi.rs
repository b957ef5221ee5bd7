//! What can be asked, as an OpenAPI document and as a page.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::engine::ModelTakes;
use crate::models::Served;

/// An address, the method, what it does.
pub const ADDRESSES: [(&str, &str, &str); 18] = [
    ("/", "get", "A page to try the models."),
    (
        "/predict",
        "post",
        "What the only model says: rows of JSON or CSV, pictures, texts, by the content type.",
    ),
    ("/models/{name}/predict", "post", "What a model says."),
    ("/models/{name}/versions/{version}/predict", "post", "What a version of a model says."),
    ("/models", "get", "The models that are served."),
    ("/models/{name}", "get", "What a model takes and says, and why a newer file of it isn't served."),
    ("/models/{name}/report", "get", "The report that lies beside the model's file."),
    ("/v2", "get", "What the server is (Open Inference Protocol)."),
    ("/v2/health/live", "get", "Whether the server runs."),
    ("/v2/health/ready", "get", "Whether it takes requests."),
    ("/v2/models/{name}", "get", "A model's tensors; with /versions/{version} of a version."),
    ("/v2/models/{name}/ready", "get", "Whether a model answers."),
    ("/v2/models/{name}/infer", "post", "What a model says of tensors, of JSON or with bytes behind it."),
    ("/healthz", "get", "Whether the server runs."),
    ("/readyz", "get", "Whether it takes requests."),
    ("/metrics", "get", "What is counted, for Prometheus."),
    ("/openapi.json", "get", "This list as an OpenAPI document."),
    ("/api", "get", "This list."),
];

/// The document of what is served now.
pub fn document(models: &[(Arc<Served>, Vec<String>)]) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for (path, method, summary) in ADDRESSES {
        let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let parameter = |name: &str| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } });
        let mut operation = json!({
            "summary": summary,
            "parameters": names.map(parameter).collect::<Vec<_>>(),
            "responses": responses(path),
        });
        if method == "post" {
            operation["requestBody"] = json!({ "required": true, "content": body(path, models) });
        }
        paths.insert(path.to_string(), json!({ method: operation }));
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "kiln serve", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": schemas(models),
        },
    })
}

fn responses(path: &str) -> Value {
    let kind = match path {
        "/" | "/api" | "/models/{name}/report" => "text/html",
        "/metrics" | "/healthz" | "/readyz" => "text/plain",
        _ => "application/json",
    };
    let mut all = json!({ "200": { "description": "The answer.", "content": { kind: {} } } });
    if path.ends_with("/predict") || path.ends_with("/infer") {
        for (status, why) in [
            ("400", "What came in isn't what the model takes; \"error\" says why."),
            ("413", "The body is too large."),
            ("415", "The content type isn't one that the model takes."),
            ("429", "Too much waits; Retry-After says when to come again."),
            ("504", "The deadline passed (the header Request-Timeout, in seconds)."),
        ] {
            all[status] = json!({ "description": why });
        }
    }
    all
}

/// What a request brings.
fn body(path: &str, models: &[(Arc<Served>, Vec<String>)]) -> Value {
    if path.ends_with("/infer") {
        return json!({ "application/json": { "schema": { "type": "object", "required": ["inputs"] } }, "application/octet-stream": {} });
    }
    let rows: Vec<Value> = models
        .iter()
        .map(|(served, _)| json!({ "$ref": format!("#/components/schemas/{}", key(&served.name)) }))
        .collect();
    let one = json!({ "anyOf": rows });
    let mut content =
        json!({ "application/json": { "schema": { "anyOf": [one, { "type": "array", "items": one }] } } });
    let takes = |takes: ModelTakes| models.iter().any(|(served, _)| served.about.takes == takes);
    if takes(ModelTakes::Rows) || takes(ModelTakes::Texts) || takes(ModelTakes::Series) {
        content["text/csv"] = json!({ "schema": { "type": "string" } });
    }
    if takes(ModelTakes::Pictures) {
        content["image/*"] = json!({ "schema": { "type": "string", "contentEncoding": "binary" } });
    }
    if takes(ModelTakes::Texts) || takes(ModelTakes::Prompts) {
        content["text/plain"] = json!({ "schema": { "type": "string" } });
    }
    content
}

/// A name as a key of the document may be.
fn key(name: &str) -> String {
    name.chars()
        .map(|letter| if letter.is_ascii_alphanumeric() || "._-".contains(letter) { letter } else { '_' })
        .collect()
}

/// What each model takes as JSON.
fn schemas(models: &[(Arc<Served>, Vec<String>)]) -> Map<String, Value> {
    models.iter().map(|(served, _)| (key(&served.name), schema(served))).collect()
}

fn schema(served: &Served) -> Value {
    match served.about.takes {
        ModelTakes::Prompts => json!({
            "type": "object",
            "required": ["prompt"],
            "properties": {
                "prompt": { "type": "string" },
                "stream": { "type": "boolean", "description": "Whether it comes piece by piece, as server-sent events." },
                "tokens": { "type": "integer" }, "temperature": { "type": "number" }, "top_k": { "type": "integer" },
                "top_p": { "type": "number" }, "min_p": { "type": "number" }, "seed": { "type": "integer" },
                "repetition_penalty": { "type": "number" }, "beams": { "type": "integer" },
                "stop": { "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] },
            },
        }),
        ModelTakes::Texts => {
            json!({ "type": "object", "required": ["text"], "properties": { "text": { "type": "string" } } })
        }
        ModelTakes::Pictures => json!({
            "type": "array", "items": { "type": "integer", "minimum": 0, "maximum": 255 },
            "description": "The bytes of an image as numbers, channel by channel.",
        }),
        ModelTakes::Series => {
            json!({ "type": "string", "description": "A table of CSV with the series so far." })
        }
        ModelTakes::Rows => {
            let columns = served.about.form.get("columns").and_then(Value::as_array);
            let Some(columns) = columns else {
                return json!({ "type": "array", "items": { "type": "number" } });
            };
            let property = |column: &Value| {
                let kind = match column["kind"].as_str() {
                    Some("number") => json!({ "type": ["number", "null"] }),
                    Some("choice") => json!({ "type": ["string", "null"], "examples": column["choices"] }),
                    Some("date") => json!({ "type": ["string", "null"], "format": "date" }),
                    _ => json!({ "type": ["string", "null"] }),
                };
                (column["name"].as_str().unwrap_or_default().to_string(), kind)
            };
            let names: Vec<&Value> = columns.iter().map(|column| &column["name"]).collect();
            json!({
                "type": "object", "required": names,
                "properties": columns.iter().map(property).collect::<Map<_, _>>(),
            })
        }
    }
}

/// The list as a page.
pub fn page() -> String {
    let row = |(path, method, summary): (&str, &str, &str)| {
        format!(
            "<tr><td><code>{}</code></td><td><code>{path}</code></td><td>{summary}</td></tr>",
            method.to_uppercase()
        )
    };
    let rows: String = ADDRESSES.map(row).concat();
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>kiln serve: what can be asked</title><link rel=\"icon\" href=\"data:,\"><link rel=\"stylesheet\" href=\"/page.css\"></head><body><main class=\"wide\">\
         <h1>What can be asked</h1><p>For programs: <a href=\"/openapi.json\">openapi.json</a>. For people: <a href=\"/\">the models</a>.</p>\
         <div class=\"scroll\"><table><thead><tr><th>method</th><th>address</th><th>what it does</th></tr></thead><tbody>{rows}</tbody></table></div>\
         </main></body></html>"
    )
}
