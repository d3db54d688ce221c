//! Reads `template.yaml`, short forms included, into plain JSON.

use std::{fs, path::Path};

use serde_json::{Map, Value, json};
use serde_yaml_ng::Value as Yaml;

use crate::Error;

/// A CloudFormation or SAM template in its long form: `!Sub x` is `{"Fn::Sub": "x"}`.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    json: Value,
}

/// A function of the template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Its logical id, `ClickToCallFunction`.
    pub logical_id: String,
    /// The binary that it runs, `click-to-call`.
    pub bin: String,
}

impl Template {
    /// Reads a template file.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read, else as [`Template::parse`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(Error::file("read", path))?;
        Self::parse(&text)
    }

    /// Reads a template's text.
    ///
    /// # Errors
    /// [`Error::Template`] when it is no YAML, uses a tag that CloudFormation does not know, or has no resources.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let yaml: Yaml = serde_yaml_ng::from_str(text).map_err(|err| Error::Template(err.to_string()))?;
        let json = long_form(yaml)?;
        if !json["Resources"].is_object() {
            return Err(Error::Template("it has no Resources".to_owned()));
        }
        Ok(Self { json })
    }

    /// The whole template.
    pub fn json(&self) -> &Value {
        &self.json
    }

    /// A section that is an object, `Resources` or `Parameters`; empty when the template has none.
    pub fn section(&self, name: &str) -> impl Iterator<Item = (&str, &Value)> {
        self.json[name]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.as_str(), value))
    }

    /// The resources of a type: logical id and `Properties`.
    pub fn of_type<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.section("Resources")
            .filter(move |(_, resource)| resource["Type"] == kind)
            .map(|(id, resource)| (id, &resource["Properties"]))
    }

    /// The functions that are built from our binaries.
    ///
    /// # Errors
    /// [`Error::Template`] when one does not name its binary.
    pub fn functions(&self) -> Result<Vec<Function>, Error> {
        self.of_type("AWS::Serverless::Function")
            .map(|(id, _)| {
                let bin = self.json["Resources"][id]["Metadata"]["BuildProperties"]["Binary"]
                    .as_str()
                    .ok_or_else(|| Error::Template(format!("{id} has no Metadata.BuildProperties.Binary")))?;
                Ok(Function {
                    logical_id: id.to_owned(),
                    bin: bin.to_owned(),
                })
            })
            .collect()
    }

    /// The same template with the code of each function at another place, as `sam package` does it; `uri` takes the
    /// function.
    ///
    /// # Errors
    /// As [`Template::functions`].
    pub fn with_code(mut self, uri: impl Fn(&Function) -> String) -> Result<Self, Error> {
        for function in self.functions()? {
            self.json["Resources"][&function.logical_id]["Properties"]["CodeUri"] =
                Value::String(uri(&function));
        }
        Ok(self)
    }
}

fn long_form(yaml: Yaml) -> Result<Value, Error> {
    Ok(match yaml {
        Yaml::Null => Value::Null,
        Yaml::Bool(flag) => Value::Bool(flag),
        Yaml::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => json!(whole),
            (None, float) => json!(float),
        },
        Yaml::String(text) => Value::String(text),
        Yaml::Sequence(items) => Value::Array(items.into_iter().map(long_form).collect::<Result<_, _>>()?),
        Yaml::Mapping(entries) => Value::Object(
            entries
                .into_iter()
                .map(|(key, value)| match key {
                    Yaml::String(key) => Ok((key, long_form(value)?)),
                    other => Err(Error::Template(format!("a key is no text: {other:?}"))),
                })
                .collect::<Result<Map<_, _>, _>>()?,
        ),
        Yaml::Tagged(tagged) => {
            let name = tagged.tag.to_string();
            let name = name.trim_start_matches('!');
            let value = long_form(tagged.value)?;
            match name {
                "Ref" | "Condition" => json!({ name: value }),
                "GetAtt" => match value.as_str().and_then(|text| text.split_once('.')) {
                    Some((resource, attribute)) => json!({ "Fn::GetAtt": [resource, attribute] }),
                    None => json!({ "Fn::GetAtt": value }),
                },
                "And" | "Base64" | "Cidr" | "Equals" | "FindInMap" | "GetAZs" | "If" | "ImportValue"
                | "Join" | "Not" | "Or" | "Select" | "Split" | "Sub" => {
                    json!({ format!("Fn::{name}"): value })
                }
                other => return Err(Error::Template(format!("the tag !{other} is unknown"))),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "
Parameters:
  Size: { Type: Number, Default: 3 }
Resources:
  ClickToCallFunction:
    Type: AWS::Serverless::Function
    Metadata: { BuildMethod: rust-cargolambda, BuildProperties: { Binary: click-to-call } }
    Properties:
      CodeUri: .
      Environment:
        Variables:
          TABLE_NAME: !Ref Table
          URL: !If [HasUrl, !Ref Url, !GetAtt Api.Nested.Endpoint]
          NAME: !Sub ['${A}-x', { A: !Join ['', [a, b]] }]
  Table: { Type: 'AWS::DynamoDB::Table' }
";

    #[test]
    fn short_forms_become_long_ones() {
        let template = Template::parse(SMALL).unwrap();
        let variables =
            &template.json()["Resources"]["ClickToCallFunction"]["Properties"]["Environment"]["Variables"];
        assert_eq!(
            variables,
            &json!({
                "TABLE_NAME": {"Ref": "Table"},
                "URL": {"Fn::If": ["HasUrl", {"Ref": "Url"}, {"Fn::GetAtt": ["Api", "Nested.Endpoint"]}]},
                "NAME": {"Fn::Sub": ["${A}-x", {"A": {"Fn::Join": ["", ["a", "b"]]}}]},
            })
        );
        assert_eq!(template.json()["Parameters"]["Size"]["Default"], 3);
    }

    #[test]
    fn code_goes_where_it_is_told_and_nothing_else_changes() {
        let template = Template::parse(SMALL).unwrap();
        let [function] = &template.functions().unwrap()[..] else {
            panic!("one function")
        };
        assert_eq!(function.bin, "click-to-call");
        let mut moved = template
            .clone()
            .with_code(|function| format!("s3://code/{}.zip", function.bin))
            .unwrap();
        let code = &mut moved.json["Resources"]["ClickToCallFunction"]["Properties"]["CodeUri"];
        assert_eq!(code, "s3://code/click-to-call.zip");
        *code = json!(".");
        assert_eq!(moved, template);
    }

    #[test]
    fn what_is_no_template_is_refused_with_the_reason() {
        for (text, says) in [
            ("a: [", "line"),
            ("a: 1", "no Resources"),
            ("Resources: { A: !Nonsense x }", "!Nonsense"),
            ("Resources: { 1: x }", "no text"),
        ] {
            let message = Template::parse(text).unwrap_err().to_string();
            assert!(message.contains(says), "{message}");
        }
        let nameless = Template::parse("Resources: { F: { Type: 'AWS::Serverless::Function' } }").unwrap();
        assert!(nameless.functions().unwrap_err().to_string().contains("Binary"));
    }
}
