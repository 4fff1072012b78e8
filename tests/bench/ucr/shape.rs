//! What a data source reads: the tree of properties that its configuration names, with the values that it compares them
//! with.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// A property of a document, or the document.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) children: BTreeMap<String, Node>,
    /// Whether it is a list of such things.
    pub(crate) is_list: bool,
    /// What filters and switches compare it with.
    pub(crate) compared: Vec<Value>,
    pub(crate) datatype: Option<String>,
}

/// From the root to a property; lists on the way are passed by.
type Path = Vec<String>;

/// Named expressions within named expressions, at most.
const MOST_NESTING: usize = 20;

/// The shape of the documents that a configuration reads.
pub(crate) fn shape(config: &Value) -> Node {
    let mut reader = Reader { root: Node::default(), config, nesting: 0 };
    let root = [Path::new()];
    reader.filter(&config["configured_filter"], &root);
    let base = &config["base_item_expression"];
    let items = if base.as_object().is_some_and(|base| !base.is_empty()) {
        let items = reader.paths(base, &root);
        items.iter().for_each(|item| reader.node(item).is_list = true);
        items
    } else {
        root.to_vec()
    };
    reader.walk(&config["configured_indicators"], &items);
    reader.walk(&config["validations"], &root);
    reader.root
}

struct Reader<'a> {
    root: Node,
    config: &'a Value,
    nesting: usize,
}

impl Reader<'_> {
    fn node(&mut self, path: &[String]) -> &mut Node {
        path.iter().fold(&mut self.root, |node, name| node.children.entry(name.clone()).or_default())
    }

    /// Everything in it that reads a property, where `scopes` are what it may be applied to.
    fn walk(&mut self, spec: &Value, scopes: &[Path]) {
        match spec {
            Value::Array(specs) => specs.iter().for_each(|spec| self.walk(spec, scopes)),
            Value::Object(fields) => match spec["type"].as_str() {
                Some("boolean_expression" | "property_match") => self.filter(spec, scopes),
                Some("raw" | "choice_list") => self.property(fields, scopes, &fields.get("choices").map(choices)),
                Some("expression") => {
                    for path in self.paths(&spec["expression"], scopes) {
                        let datatype = spec["datatype"].as_str().map(str::to_owned);
                        self.node(&path).datatype = datatype;
                    }
                }
                Some(_) => drop(self.paths(spec, scopes)),
                None => fields.values().for_each(|spec| self.walk(spec, scopes)),
            },
            _ => {}
        }
    }

    fn property(&mut self, fields: &Map<String, Value>, scopes: &[Path], compared: &Option<Vec<Value>>) {
        let names = names(fields);
        for scope in scopes {
            let path: Path = scope.iter().cloned().chain(names.iter().cloned()).collect();
            let datatype = fields.get("datatype").and_then(Value::as_str).map(str::to_owned);
            let node = self.node(&path);
            node.compared.extend(compared.iter().flatten().cloned());
            node.datatype = node.datatype.take().or(datatype);
        }
    }

    /// The properties that an expression may give.
    fn paths(&mut self, expression: &Value, scopes: &[Path]) -> Vec<Path> {
        let Some(fields) = expression.as_object() else { return Vec::new() };
        match expression["type"].as_str().unwrap_or_default() {
            "property_name" | "property_path" => {
                self.property(fields, scopes, &None);
                let names = names(fields);
                scopes.iter().map(|scope| scope.iter().cloned().chain(names.iter().cloned()).collect()).collect()
            }
            "identity" => scopes.to_vec(),
            "root_doc" => self.paths(&expression["expression"], &[Path::new()]),
            "named" => {
                let named = expression["name"].as_str().unwrap_or_default();
                let spec = self.config["named_expressions"][named].clone();
                let filter = self.config["named_filters"][named].clone();
                if self.nesting == MOST_NESTING {
                    return Vec::new();
                }
                self.nesting += 1;
                self.filter(&filter, scopes);
                let paths = self.paths(&spec, scopes);
                self.nesting -= 1;
                paths
            }
            "conditional" => {
                self.filter(&expression["test"], scopes);
                let mut paths = self.paths(&expression["expression_if_true"], scopes);
                paths.extend(self.paths(&expression["expression_if_false"], scopes));
                paths
            }
            "nested" => {
                let argument = self.paths(&expression["argument_expression"], scopes);
                self.paths(&expression["value_expression"], &argument)
            }
            "array_index" => self.list(&expression["array_expression"], scopes),
            "filter_items" => {
                let items = self.list(&expression["items_expression"], scopes);
                self.filter(&expression["filter_expression"], &items);
                items
            }
            "map_items" => {
                let items = self.list(&expression["items_expression"], scopes);
                self.paths(&expression["map_expression"], &items)
            }
            "sort_items" | "reduce_items" | "flatten" => self.list(&expression["items_expression"], scopes),
            "switch" => {
                let cases = expression["cases"].as_object();
                let compared: Vec<Value> =
                    cases.iter().flat_map(|cases| cases.keys()).map(|key| key.as_str().into()).collect();
                for path in self.paths(&expression["switch_on"], scopes) {
                    self.node(&path).compared.extend(compared.iter().cloned());
                }
                fields.values().for_each(|spec| self.walk(spec, scopes));
                Vec::new()
            }
            _ => {
                fields.iter().filter(|(name, _)| *name != "type").for_each(|(_, spec)| self.walk(spec, scopes));
                Vec::new()
            }
        }
    }

    fn list(&mut self, expression: &Value, scopes: &[Path]) -> Vec<Path> {
        let paths = self.paths(expression, scopes);
        paths.iter().for_each(|path| self.node(path).is_list = true);
        paths
    }

    fn filter(&mut self, filter: &Value, scopes: &[Path]) {
        let Some(fields) = filter.as_object() else { return };
        match filter["type"].as_str().unwrap_or_default() {
            "boolean_expression" => {
                let compared = choices(&filter["property_value"]);
                for path in self.paths(&filter["expression"], scopes) {
                    self.node(&path).compared.extend(compared.iter().cloned());
                }
            }
            "property_match" => self.property(fields, scopes, &Some(choices(&filter["property_value"]))),
            "named" => drop(self.paths(filter, scopes)),
            _ => fields.iter().filter(|(name, _)| *name != "type").for_each(|(_, spec)| match spec {
                Value::Array(filters) => filters.iter().for_each(|filter| self.filter(filter, scopes)),
                spec => self.filter(spec, scopes),
            }),
        }
    }
}

fn names(fields: &Map<String, Value>) -> Path {
    match fields.get("property_path") {
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => fields.get("property_name").and_then(Value::as_str).map(str::to_owned).into_iter().collect(),
    }
}

/// One value or several.
fn choices(compared: &Value) -> Vec<Value> {
    match compared {
        Value::Array(values) => values.clone(),
        Value::Object(_) => Vec::new(),
        one => vec![one.clone()],
    }
}
