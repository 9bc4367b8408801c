//! The inputs that a trigger sets for its runs.

use jiff::Zoned;
use minijinja::context;

use super::flow::Flow;
use super::inputs::DefaultValue;
use super::trigger::ScheduleTrigger;
use crate::error::Result;
use crate::flow::expression::{Scope, data, dates};
use crate::secrets::Secrets;

impl Flow {
    /// The inputs that the trigger sets for the run of a date. Those that the flow does not have are left out.
    pub(crate) fn trigger_inputs(
        &self,
        trigger: &ScheduleTrigger,
        date: &Zoned,
        secrets: &Secrets,
    ) -> Result<Vec<(String, String)>> {
        let scope = Scope::new(secrets)
            .with("vars", self.variables.as_ref().map_or_else(|| context! {}, data))
            .with("flow", context! { id => self.id.0.as_str(), namespace => self.namespace.as_str() })
            .with("trigger", context! { id => trigger.id.0.as_str(), date => dates::text(date) });
        let has_input = |name: &str| self.inputs.iter().any(|input| input.id.0 == name);
        let known = trigger.inputs.0.iter().filter(|(name, _)| has_input(name));
        let value = |(name, value): &(String, DefaultValue)| {
            let text = match &value.template {
                Some(template) => scope.fill(template).map_err(|diagnostic| self.faults(vec![diagnostic]))?,
                None => value.text.clone(),
            };
            Ok((name.clone(), text))
        };
        known.map(value).collect()
    }
}
