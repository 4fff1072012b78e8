//! What happens over the years: households are found, women become pregnant, children are born, everybody is visited,
//! and now and then something is corrected, archived or deleted.
//!
//! Each event is a form, followed by the cases that it changed in their new versions: the order in which they are
//! saved.

use std::collections::VecDeque;

use serde_json::{Map, Value, json};

use crate::calendar::Moment;
use crate::case::{Case, hard_deleted, soft_deleted};
use crate::form::{Visit, case_block, device_report, document, repeat};
use crate::places::{PLACES, user};
use crate::random::Random;

/// How many forms are remembered, to be archived, corrected or deleted later.
const REMEMBERED_FORMS: usize = 200;

/// How long it all takes, whatever the number of documents: 11 years.
const SECONDS: u64 = 11 * 365 * 86_400;

/// The documents in the order in which they change.
#[derive(Debug)]
pub struct World {
    random: Random,
    now: Moment,
    seconds_per_document: u64,
    cases: Vec<Case>,
    forms: VecDeque<Value>,
    pending: VecDeque<Value>,
}

impl World {
    /// A world of about `documents` documents; the same for the same `seed`.
    pub fn new(documents: u64, seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            now: Moment::START,
            seconds_per_document: SECONDS / documents.max(1),
            cases: Vec::new(),
            forms: VecDeque::new(),
            pending: VecDeque::new(),
        }
    }

    fn happen(&mut self) {
        let place = self.random.index(PLACES.len());
        let event = self.random.below(100);
        let (user_id, username) = user(place, &mut self.random);
        let mut visit = Visit { place, user_id, username, at: self.now };
        let subject = self.subject(match event {
            // A delivery needs a pregnancy, a new pregnancy a woman.
            30..=39 => "person",
            40..=47 => "pregnancy",
            _ => "",
        });
        if let Some(subject) = subject {
            visit.place = self.cases[subject].place;
        }
        match (event, subject) {
            (0..=17, _) | (30..=91, None) => self.register_household(&visit),
            (18..=20, _) => self.report_device(&visit),
            (21..=29, _) => self.change_form(),
            (30..=39, Some(woman)) => self.register_pregnancy(woman, &visit),
            (40..=47, Some(pregnancy)) => self.deliver(pregnancy, &visit),
            (48..=91, Some(case)) => self.visit(case, &visit),
            (_, _) => self.delete_case(),
        }
    }

    /// An open case of a kind, or of any.
    fn subject(&mut self, kind: &str) -> Option<usize> {
        // A few tries are enough: where none is found, the event becomes another one.
        (0..8).find_map(|_| {
            let position = self.random.index(self.cases.len().max(1));
            let case = self.cases.get(position)?;
            (case.closed_on.is_none() && (kind.is_empty() || case.kind == kind)).then_some(position)
        })
    }

    fn register_household(&mut self, visit: &Visit) {
        let place = &PLACES[visit.place];
        let family = *self.random.pick(place.families);
        let village = *self.random.pick(place.villages);
        let household_id = self.random.id();
        let form_id = self.random.id();
        let mut cases = vec![Case {
            properties: properties(json!({
                "village": village, "number_of_rooms": self.random.between(1, 5).to_string(),
                "water_source": *self.random.pick(&["rainwater", "borehole", "river", "tap"]),
                "contact_phone_number": format!("+{}", self.random.between(20_000_000_000, 99_000_000_000)),
            })),
            ..self.new_case(&household_id, "household", family.to_owned(), visit, &form_id)
        }];
        let mut members = Vec::new();
        for number in 0..self.random.between(0, 4) {
            let is_woman = number == 0 || self.random.chance(50);
            let names = if is_woman { place.women } else { place.men };
            let name = format!("{} {family}", self.random.pick(names));
            let born = self.now.minus_days(self.random.between(3_000, 15_000)).date();
            let id = self.random.id();
            let sex = if is_woman { "female" } else { "male" };
            cases.push(Case {
                parent: Some((household_id.clone(), "household")),
                properties: properties(json!({"dob": born, "sex": sex, "village": village})),
                ..self.new_case(&id, "person", name.clone(), visit, &form_id)
            });
            let mut block = case_block(&id, visit);
            block["create"] = json!({"case_name": name, "case_type": "person", "owner_id": visit.user_id});
            block["update"] = json!({"dob": born, "sex": sex});
            block["index"] = json!({"parent": {"#text": household_id, "@case_type": "household"}});
            members.push(json!({"name": name, "sex": sex, "born": {"date": born, "certain": "yes"}, "case": block}));
        }
        let mut block = case_block(&household_id, visit);
        block["create"] = json!({"case_name": family, "case_type": "household", "owner_id": visit.user_id});
        block["update"] = json!({"village": village});
        let content = json!({"family": family, "village": village, "member": repeat(members), "case": block});
        self.submit(&form_id, "Household registration", content, visit, cases);
    }

    fn register_pregnancy(&mut self, woman: usize, visit: &Visit) {
        let (form_id, id) = (self.random.id(), self.random.id());
        let woman_name = self.cases[woman].name.clone();
        let due = self.now.plus_days(self.random.between(60, 240)).date();
        let risks = ["none", "anaemia", "anaemia hypertension", "twins"];
        let pregnancy = Case {
            parent: Some((self.cases[woman].id.clone(), "person")),
            properties: properties(json!({"edd": due, "risk": *self.random.pick(&risks), "gravida": "2"})),
            ..self.new_case(&id, "pregnancy", woman_name.clone(), visit, &form_id)
        };
        let woman = self.touch(woman, visit, &form_id, json!({"pregnant": "yes"}));
        let mut open = case_block(&id, visit);
        open["create"] = json!({"case_name": woman_name, "case_type": "pregnancy", "owner_id": visit.user_id});
        open["index"] = json!({"parent": {"#text": woman.id, "@case_type": "person"}});
        let mut update = case_block(&woman.id, visit);
        update["update"] = json!({"pregnant": "yes"});
        let content = json!({
            "woman": woman_name, "edd": due, "last_period": {"known": "yes", "date": self.now.minus_days(50).date()},
            "case": update, "open_pregnancy": {"case": open},
        });
        self.submit(&form_id, "Pregnancy registration", content, visit, vec![woman, pregnancy]);
    }

    fn deliver(&mut self, pregnancy: usize, visit: &Visit) {
        let form_id = self.random.id();
        let children = if self.random.chance(12) { 2 } else { 1 };
        let (mut cases, mut items) = (Vec::new(), Vec::new());
        let mother = self.touch(pregnancy, visit, &form_id, json!({"outcome": "live_birth"}));
        self.cases[pregnancy].closed_on = Some(visit.at);
        cases.push(Case { closed_on: Some(visit.at), ..mother.clone() });
        for _ in 0..children {
            let id = self.random.id();
            let names = if self.random.chance(50) { PLACES[visit.place].women } else { PLACES[visit.place].men };
            let name = (*self.random.pick(names)).to_owned();
            let weight = format!("{}.{:02}0", self.random.between(1, 4), self.random.below(100));
            let mut block = case_block(&id, visit);
            block["create"] = json!({"case_name": name, "case_type": "child", "owner_id": visit.user_id});
            block["update"] = json!({"birth_weight": weight, "dob": self.now.date()});
            items.push(json!({"name": name, "weight": weight, "case": block}));
            cases.push(Case {
                parent: Some((mother.id.clone(), "pregnancy")),
                properties: properties(json!({"birth_weight": weight, "dob": self.now.date()})),
                ..self.new_case(&id, "child", name, visit, &form_id)
            });
        }
        let mut close = case_block(&mother.id, visit);
        close["close"] = Value::from("");
        close["update"] = json!({"outcome": "live_birth"});
        let content = json!({
            "delivery": {"place": *self.random.pick(&["home", "clinic", "hospital"]), "child": repeat(items)},
            "case": close,
        });
        self.submit(&form_id, "Delivery", content, visit, cases);
    }

    fn visit(&mut self, case: usize, visit: &Visit) {
        let form_id = self.random.id();
        let (temperature, weight) = (self.random.between(355, 401), self.random.between(25, 900));
        let temperature = format!("{}.{}", temperature / 10, temperature % 10);
        let vitals = json!({
            "temp": temperature, "weight": format!("{}.{}", weight / 10, weight % 10), "bp": "", "resp_rate": "",
        });
        let changes = json!({
            "last_visit": self.now.date(), "temperature": temperature,
            "danger_signs": *self.random.pick(&["none", "fever", "fever convulsions", ""]),
            "visits": (self.cases[case].visits + 1).to_string(),
        });
        let after = self.touch(case, visit, &form_id, changes.clone());
        let mut block = case_block(&after.id, visit);
        block["update"] = changes;
        match self.random.below(30) {
            // What real phones send, too: an empty element where an object is meant, and a clock that is broken.
            0 => block["update"] = Value::from(""),
            1 => block["@date_modified"] = Value::from(""),
            2 => block["@date_modified"] = Value::from("13:54Z"),
            _ => {}
        }
        let topics: Vec<_> = (0..self.random.below(4))
            .map(|_| json!({"topic": *self.random.pick(&["sanitation", "nutrition", "bednets"]), "understood": "yes"}))
            .collect();
        let content = json!({
            "name": after.name, "vitals": vitals, "counseling": {"group": {"session": repeat(topics)}},
            "handwashing_knowledge": "before_eating after_eating before_cooking after_defecation",
            "num_bednets": "1\n\t\t", "case": block,
        });
        let kind = match after.kind {
            "pregnancy" => "Antenatal visit",
            "child" => "Child visit",
            _ => "Household visit",
        };
        self.submit(&form_id, kind, content, visit, vec![after]);
    }

    fn report_device(&mut self, visit: &Visit) {
        let id = self.random.id();
        let report = device_report(&id, visit, &mut self.random);
        self.pending.push_back(report);
    }

    /// A form that was sent earlier is archived, corrected, or deleted softly or for good.
    fn change_form(&mut self) {
        let position = self.random.index(self.forms.len().max(1));
        let Some(mut form) = self.forms.remove(position) else {
            return;
        };
        let now = self.now.to_string();
        match self.random.below(10) {
            0..=3 => {
                form["doc_type"] = Value::from("XFormArchived");
                form["history"] = json!([{"user": "admin", "date": now, "operation": "archive"}]);
                self.pending.push_back(form);
            }
            4..=6 => {
                form["edited_on"] = Value::from(now.as_str());
                form["form"]["comment"] = Value::from("corrected");
                form["history"] = json!([{"user": "admin", "date": now, "operation": "edit"}]);
                self.pending.push_back(form.clone());
                self.forms.push_back(form);
            }
            7 | 8 => self.pending.push_back(soft_deleted(form, self.now)),
            _ => self.pending.push_back(hard_deleted(&form)),
        }
    }

    fn delete_case(&mut self) {
        let position = self.random.index(self.cases.len().max(1));
        if position < self.cases.len() {
            let case = self.cases.swap_remove(position).document();
            let deleted = if self.random.chance(70) { soft_deleted(case, self.now) } else { hard_deleted(&case) };
            self.pending.push_back(deleted);
        }
    }

    fn new_case(&self, id: &str, kind: &'static str, name: String, visit: &Visit, form_id: &str) -> Case {
        Case {
            id: id.to_owned(),
            kind,
            place: visit.place,
            name,
            owner_id: visit.user_id.clone(),
            opened_on: self.now,
            modified_on: self.now,
            user_id: visit.user_id.clone(),
            closed_on: None,
            parent: None,
            properties: Map::new(),
            forms: vec![form_id.to_owned()],
            visits: 0,
        }
    }

    /// The case after a form changed it.
    fn touch(&mut self, position: usize, visit: &Visit, form_id: &str, changes: Value) -> Case {
        let case = &mut self.cases[position];
        case.modified_on = visit.at;
        case.user_id.clone_from(&visit.user_id);
        case.forms.push(form_id.to_owned());
        case.visits += 1;
        case.properties.extend(properties(changes));
        case.clone()
    }

    fn submit(&mut self, form_id: &str, kind: &str, content: Value, visit: &Visit, cases: Vec<Case>) {
        let form = document(form_id, kind, content, visit, &mut self.random);
        self.forms.push_back(form.clone());
        if self.forms.len() > REMEMBERED_FORMS {
            self.forms.pop_front();
        }
        self.pending.push_back(form);
        for case in cases {
            self.pending.push_back(case.document());
            // A case of one version is new: those that were touched are here already.
            if case.forms.len() == 1 {
                self.cases.push(case);
            }
        }
    }
}

impl Iterator for World {
    type Item = Value;

    /// Never ends.
    fn next(&mut self) -> Option<Value> {
        while self.pending.is_empty() {
            self.happen();
        }
        self.now = self.now.plus_seconds(self.seconds_per_document);
        self.pending.pop_front()
    }
}

fn properties(values: Value) -> Map<String, Value> {
    match values {
        Value::Object(properties) => properties,
        _ => Map::new(),
    }
}
