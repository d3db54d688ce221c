//! Update and condition expressions, built so that every attribute name is aliased: reserved words never matter.

use aws_sdk_dynamodb::types::AttributeValue;
use serde::Serialize;

use crate::keys::Attributes;

/// An update, its condition, and the names and values of both.
#[derive(Debug, Clone, Default)]
pub(crate) struct Expression {
    sets: Vec<String>,
    adds: Vec<String>,
    removes: Vec<String>,
    conditions: Vec<String>,
    names: std::collections::HashMap<String, String>,
    values: Attributes,
}

/// A value as an attribute.
pub(crate) fn attribute(value: impl Serialize) -> AttributeValue {
    serde_dynamo::to_attribute_value(value)
        .expect("numbers, strings and structs of them always have an attribute form")
}

impl Expression {
    /// Changes nothing, under no condition.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn name(&mut self, attribute: &str) -> String {
        let alias = format!("#{attribute}");
        self.names.insert(alias.clone(), attribute.to_owned());
        alias
    }

    fn value(&mut self, value: impl Serialize) -> String {
        let alias = format!(":v{}", self.values.len());
        self.values.insert(alias.clone(), attribute(value));
        alias
    }

    /// Sets an attribute.
    pub(crate) fn set(mut self, attribute: &str, value: impl Serialize) -> Self {
        let (name, value) = (self.name(attribute), self.value(value));
        self.sets.push(format!("{name} = {value}"));
        self
    }

    /// Sets an attribute to what already has an attribute's form.
    pub(crate) fn set_attribute(mut self, attribute: &str, value: AttributeValue) -> Self {
        let name = self.name(attribute);
        let alias = format!(":v{}", self.values.len());
        self.sets.push(format!("{name} = {alias}"));
        self.values.insert(alias, value);
        self
    }

    /// Sets an attribute if there is a value.
    pub(crate) fn set_some(self, attribute: &str, value: Option<impl Serialize>) -> Self {
        match value {
            Some(value) => self.set(attribute, value),
            None => self,
        }
    }

    /// Sets an attribute that is not there yet.
    pub(crate) fn set_once(mut self, attribute: &str, value: impl Serialize) -> Self {
        let (name, value) = (self.name(attribute), self.value(value));
        self.sets.push(format!("{name} = if_not_exists({name}, {value})"));
        self
    }

    /// Adds to a number; a missing one counts as 0.
    pub(crate) fn add(mut self, attribute: &str, amount: i64) -> Self {
        let (name, value) = (self.name(attribute), self.value(amount));
        self.adds.push(format!("{name} {value}"));
        self
    }

    /// Sets an attribute, or removes it when there is no value.
    pub(crate) fn set_or_remove(mut self, attribute: &str, value: Option<impl Serialize>) -> Self {
        match value {
            Some(value) => self.set(attribute, value),
            None => {
                let name = self.name(attribute);
                self.removes.push(name);
                self
            }
        }
    }

    /// Only if the attribute compares so (`=`, `<`, `<=`, `>`, `<>`) with the value.
    pub(crate) fn only_if(mut self, attribute: &str, comparison: &str, value: impl Serialize) -> Self {
        let (name, value) = (self.name(attribute), self.value(value));
        self.conditions.push(format!("{name} {comparison} {value}"));
        self
    }

    /// Only if the attribute is one of the values.
    pub(crate) fn only_if_in<V: Serialize>(
        mut self,
        attribute: &str,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        let name = self.name(attribute);
        let values: Vec<_> = values.into_iter().map(|value| self.value(value)).collect();
        self.conditions.push(format!("{name} IN ({})", values.join(", ")));
        self
    }

    /// Only if the item has the attribute.
    pub(crate) fn only_if_present(mut self, attribute: &str) -> Self {
        let name = self.name(attribute);
        self.conditions.push(format!("attribute_exists({name})"));
        self
    }

    /// Only if the item does not have the attribute.
    pub(crate) fn only_if_absent(mut self, attribute: &str) -> Self {
        let name = self.name(attribute);
        self.conditions.push(format!("attribute_not_exists({name})"));
        self
    }

    /// Only if the item does not have the attribute, or it has this value.
    pub(crate) fn only_if_absent_or(mut self, attribute: &str, value: impl Serialize) -> Self {
        let (name, value) = (self.name(attribute), self.value(value));
        self.conditions
            .push(format!("(attribute_not_exists({name}) OR {name} = {value})"));
        self
    }

    /// Only if the item does not have the attribute, or has a lesser one.
    pub(crate) fn only_if_absent_or_less(mut self, attribute: &str, value: impl Serialize) -> Self {
        let (name, value) = (self.name(attribute), self.value(value));
        self.conditions
            .push(format!("(attribute_not_exists({name}) OR {name} < {value})"));
        self
    }

    /// Only if the item does not have the attribute, or has no greater one.
    pub(crate) fn only_if_absent_or_at_most(mut self, attribute: &str, value: impl Serialize) -> Self {
        let (name, value) = (self.name(attribute), self.value(value));
        self.conditions
            .push(format!("(attribute_not_exists({name}) OR {name} <= {value})"));
        self
    }

    /// The update expression, if anything changes.
    pub(crate) fn update(&self) -> Option<String> {
        let clauses: Vec<_> = [
            ("SET", &self.sets),
            ("ADD", &self.adds),
            ("REMOVE", &self.removes),
        ]
        .into_iter()
        .filter(|(_, parts)| !parts.is_empty())
        .map(|(verb, parts)| format!("{verb} {}", parts.join(", ")))
        .collect();
        (!clauses.is_empty()).then(|| clauses.join(" "))
    }

    /// The condition expression, if there is any; all conditions must hold.
    pub(crate) fn condition(&self) -> Option<String> {
        (!self.conditions.is_empty()).then(|| self.conditions.join(" AND "))
    }

    /// The aliased names, or `None` (DynamoDB refuses an empty map).
    pub(crate) fn names(&self) -> Option<std::collections::HashMap<String, String>> {
        (!self.names.is_empty()).then(|| self.names.clone())
    }

    /// The values, or `None`.
    pub(crate) fn values(&self) -> Option<Attributes> {
        (!self.values.is_empty()).then(|| self.values.clone())
    }
}
