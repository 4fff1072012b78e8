//! Look-ups of reports through the real program: what is found, and how many queries it takes.

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::support::documents::lines;
use crate::support::site::{Site, limits, read};
use crate::ucr::{reports, source, table};

/// A site whose databases are all the one at `url`, where a list of ids is asked for with `ids`.
struct World {
    site: Site,
    url: String,
}

impl World {
    fn new(url: &str, ids: &str) -> Self {
        let site = Site::embedded();
        site.write(
            "pillowtop.toml",
            &format!(
                r#"
[database]
url = "{url}"

[feeds.log]
kind = "changelog"
partitions = 1

[documents.store]
kind = "sql"
query = "select id, document, revision, deleted from documents where id {ids}"

[documents.related]
kind = "by-type"
types = {{ CommCareCase = "store" }}

[documents.subcases]
kind = "sql-lookup"
query = "select parent as key, case_json as document from case_indices where parent {ids} order by opened desc"

[documents.locations]
kind = "sql-lookup"
query = """
with recursive up (key, id, depth) as (
    select id, id, 0 from locations where id {ids}
    union all
    select up.key, locations.parent, up.depth + 1 from up join locations on locations.id = up.id
    where locations.parent is not null
)
select key, location as document from up join locations on locations.id = up.id order by key, depth -- lowest first
"""

[sinks.tables]
kind = "sql"

[metrics]
file = "metrics.prom"
{}"#,
                limits()
            ),
        );
        Self { site, url: url.to_owned() }
    }

    fn pillow(&self, sources: &[Value], lookups: &str) {
        let manifest = reports(sources).replacen("grants =", &format!("lookups = {{ {lookups} }}\ngrants ="), 1);
        self.site.pillow("reports", &manifest);
    }

    async fn execute(&self, statements: &str) {
        if !self.url.starts_with("postgres") {
            return self.site.execute(statements).await;
        }
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut connection).await.unwrap();
    }

    /// Publishes documents, runs the pillow over them, and says how many rounds, queries and keys its look-ups took.
    async fn send(&self, documents: &[Value]) -> [u64; 3] {
        self.site.publish(&lines(documents)).await;
        self.site.catch_up().await;
        let metrics = read(&self.site.path("metrics.prom"));
        ["rounds", "queries", "keys"].map(|what| {
            let name = format!("pillowtop_lookup_{what}_total{{");
            let line = metrics.lines().find(|line| line.starts_with(&name)).unwrap();
            line.rsplit(' ').next().unwrap().parse().unwrap()
        })
    }

    async fn rows(&self, table_id: &str, column: &str) -> Value {
        let sql = format!("select doc_id, {column} from \"{}\" order by doc_id", table(table_id));
        self.site.run(&["--json", "sql", &sql]).await.json()
    }
}

fn property(name: &str) -> Value {
    json!({"type": "property_name", "property_name": name})
}

/// Children only, with this column.
fn of_children(table_id: &str, column: &str, datatype: &str, expression: Value) -> Value {
    let mut source = source(table_id, "CommCareCase", column, datatype);
    source["configured_filter"] = json!({
        "type": "boolean_expression", "operator": "eq", "property_value": "child", "expression": property("type"),
    });
    source["configured_indicators"][0]["expression"] = expression;
    source
}

/// `value` of the parent.
fn of_parent(value: Value) -> Value {
    json!({
        "type": "related_doc", "related_doc_type": "CommCareCase",
        "doc_id_expression": property("parent"), "value_expression": value,
    })
}

fn case(id: &str, kind: &str, parent: &str, name: &str) -> Value {
    json!({
        "_id": id, "doc_type": "CommCareCase", "domain": "clinic", "type": kind, "parent": parent, "name": name,
        "place": "village",
    })
}

async fn a_row_has_the_latest_value_of_its_parent(world: World) {
    let parents = || of_parent(property("name"));
    let first = of_children("first", "parent_name", "string", parents());
    let second = of_children("second", "again", "string", parents());
    let third = of_children("third", "grandparent", "string", of_parent(parents()));
    world.pillow(&[first.clone(), second.clone()], r#"documents = "related""#);
    // Three times both change: one query each, of one round, whatever the number of data sources.
    for name in ["Ada", "Eve", "Zoe"] {
        let spent = world.send(&[case("p", "parent", "g", name), case("c", "child", "p", "x")]).await;
        assert_eq!(spent, [1, 1, 1], "{name}");
        assert_eq!(world.rows("first", "parent_name").await, json!([{"doc_id": "c", "parent_name": name}]));
        assert_eq!(world.rows("second", "again").await, json!([{"doc_id": "c", "again": name}]));
    }
    // A change of the parent alone is none of the child.
    assert_eq!(world.send(&[case("p", "parent", "g", "Mia")]).await, [0, 0, 0]);
    assert_eq!(world.rows("first", "parent_name").await[0]["parent_name"], "Zoe");

    // A batch of many children asks for each parent once; what lies behind the parents takes another round.
    world.pillow(&[first, second, third], r#"documents = "related""#);
    let parents: Vec<Value> = (0..5).map(|n| case(&format!("p{n}"), "parent", "g", &format!("parent {n}"))).collect();
    let children = (0..50).map(|n| case(&format!("c{n:02}"), "child", &format!("p{}", n % 5), "x"));
    let all: Vec<Value> = [case("g", "parent", "", "Root")].into_iter().chain(parents).chain(children).collect();
    assert_eq!(world.send(&all).await, [2, 2, 6]);
    let rows = world.rows("third", "grandparent").await;
    let rows: Vec<&Value> = rows.as_array().unwrap().iter().map(|row| &row["grandparent"]).collect();
    assert_eq!(rows, vec![&json!("Root"); 50]);
    assert_eq!(world.rows("second", "again").await[8]["again"], "parent 2");
    assert_eq!(world.site.parked().await, [] as [Value; 0]);
}

async fn named_queries_answer_several_documents_for_a_key(world: World) {
    let location = |id: &str, parent: &str, kind: &str| {
        let parent_id = if parent.is_empty() { Value::Null } else { json!(parent) };
        let document = json!({
            "_id": id, "location_id": id, "doc_type": "Location", "domain": "clinic", "name": format!("the {kind}"),
            "location_type": kind, "parent_location_id": parent_id,
        });
        let parent = if parent.is_empty() { "null".to_owned() } else { format!("'{parent}'") };
        format!("insert into locations values ('{id}', {parent}, '{document}');")
    };
    let index = |parent: &str, id: &str, opened: u8| {
        let document =
            json!({"_id": id, "domain": "clinic", "doc_type": "CommCareCase", "name": format!("name of {id}")});
        format!("insert into case_indices values ('{parent}', '{document}', {opened});")
    };
    world
        .execute(&format!(
            "create table locations (id text primary key, parent text, location text not null);
             create table case_indices (parent text not null, case_json text not null, opened integer not null);
             {}{}{}{}{}{}",
            location("country", "", "country"),
            location("district", "country", "district"),
            location("village", "district", "village"),
            index("c", "s1", 1),
            index("c", "s2", 2),
            index("d", "s3", 3),
        ))
        .await;
    let place = |kind: &str| {
        json!({
            "type": "ancestor_location", "location_id": property("place"), "location_type": kind,
            "location_property": "name",
        })
    };
    let newest = json!({
        "type": "array_index", "index_expression": 0,
        "array_expression": {"type": "get_subcases", "case_id_expression": property("_id")},
    });
    let newest = json!({"type": "nested", "argument_expression": newest, "value_expression": property("name")});
    world.pillow(
        &[
            of_children("districts", "district", "string", place("district")),
            of_children("countries", "country", "string", place("country")),
            of_children("newest", "subcase", "string", newest),
        ],
        r#"locations = "locations", subcases = "subcases""#,
    );
    // One round: a query for the locations with all above them, and one for the sub-cases.
    let spent = world.send(&["c", "d", "e"].map(|id| case(id, "child", "", "x"))).await;
    assert_eq!(spent, [1, 2, 4]);
    let of = |rows: Value, column: &str| {
        rows.as_array().unwrap().iter().map(|row| row[column].clone()).collect::<Vec<Value>>()
    };
    assert_eq!(of(world.rows("districts", "district").await, "district"), vec![json!("the district"); 3]);
    assert_eq!(of(world.rows("countries", "country").await, "country"), vec![json!("the country"); 3]);
    let newest = [json!("name of s2"), json!("name of s3"), Value::Null];
    assert_eq!(of(world.rows("newest", "subcase").await, "subcase"), newest);
    assert_eq!(world.site.parked().await, [] as [Value; 0]);
}

fn in_sqlite() -> World {
    World::new("sqlite:pillowtop.db", "in (:ids)")
}

async fn in_postgres() -> World {
    World::new(&crate::postgres::database().await, "= any(:ids)")
}

#[tokio::test]
async fn a_row_has_the_latest_value_of_its_parent_in_sqlite() {
    a_row_has_the_latest_value_of_its_parent(in_sqlite()).await;
}

#[tokio::test]
async fn a_row_has_the_latest_value_of_its_parent_in_postgres() {
    a_row_has_the_latest_value_of_its_parent(in_postgres().await).await;
}

#[tokio::test]
async fn named_queries_answer_several_documents_for_a_key_in_sqlite() {
    let world = in_sqlite();
    // Makes the database.
    world.site.publish("").await;
    named_queries_answer_several_documents_for_a_key(world).await;
}

#[tokio::test]
async fn named_queries_answer_several_documents_for_a_key_in_postgres() {
    named_queries_answer_several_documents_for_a_key(in_postgres().await).await;
}

#[tokio::test]
async fn a_data_source_whose_look_up_is_not_granted_is_left_out_and_says_so() {
    let world = in_sqlite();
    let granted = of_children("granted", "name", "string", property("name"));
    let lacking = of_children("lacking", "parent_name", "string", of_parent(property("name")));
    world.pillow(&[granted, lacking], "");
    world.site.publish(&lines(&[case("c", "child", "p", "x")])).await;
    let ran = world.site.run(&["run", "--until-caught-up"]).await.well();
    let said = "data source lacking needs the look-up documents, and it is not granted: give the processor `lookups = { \
                documents = \"STORE\" }` in its manifest";
    assert!(ran.err.replace("\\\"", "\"").contains(said), "{}", ran.err);
    assert_eq!(world.rows("granted", "name").await, json!([{"doc_id": "c", "name": "x"}]));
    assert_eq!(world.site.parked().await, [] as [Value; 0]);
}
