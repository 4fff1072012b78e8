//! Project spaces: where they are, what people are called there, who works there and with which app.

use crate::calendar::Moment;
use crate::random::Random;

/// A project space.
#[derive(Debug)]
pub struct Place {
    /// Its name.
    pub domain: &'static str,
    /// Latitude and longitude of its middle.
    pub middle: (f64, f64),
    /// Names of women.
    pub women: &'static [&'static str],
    /// Names of men.
    pub men: &'static [&'static str],
    /// Names of families.
    pub families: &'static [&'static str],
    /// Names of villages.
    pub villages: &'static [&'static str],
}

/// All project spaces.
pub const PLACES: [Place; 5] = [
    Place {
        domain: "ibadan-mothers",
        middle: (7.3775, 3.947),
        women: &["Adaeze", "Ọláyínká", "Ngozi", "Títílayọ̀", "Zainab", "Bọ́lá"],
        men: &["Chukwuemeka", "Adébáyọ̀", "Ifeanyi", "Sẹ́gun", "Musa"],
        families: &["Okonkwo", "Adéyẹmí", "Ògúnbánjọ", "Bello", "O'Neill-Eze"],
        villages: &["Ọ̀yọ́ Road", "Mọ́níyà", "Ẹ̀gbẹ́dá"],
    },
    Place {
        domain: "bihar-asha",
        middle: (25.5941, 85.1376),
        women: &["सुनीता", "कविता", "राधा", "फ़ातिमा", "Meena", "गीता"],
        men: &["रमेश", "अजय", "मोहम्मद", "Suresh", "विजय"],
        families: &["कुमारी", "देवी", "शर्मा", "Yadav", "सिंह"],
        villages: &["रामपुर", "सोनपुर", "Danapur"],
    },
    Place {
        domain: "kivu-sante",
        middle: (-1.6585, 29.2205),
        women: &["Espérance", "Béatrice", "Furaha", "Neema", "Chantal"],
        men: &["Jean-Bosco", "Désiré", "Amani", "Théoneste"],
        families: &["Mukwege", "N'Simba", "Bahati", "Kabuya"],
        villages: &["Sake", "Kirotshe", "Bweremana"],
    },
    Place {
        domain: "aleppo-field",
        middle: (36.2021, 37.1343),
        women: &["فاطمة", "مريم", "زينب", "نور", "ሰላም"],
        men: &["محمد", "أحمد", "يوسف", "خالد"],
        families: &["الحلبي", "حداد", "النجار", "قاسم"],
        villages: &["الباب", "منبج", "عفرين"],
    },
    Place {
        domain: "स्वास्थ्य-परियोजना",
        middle: (27.7172, 85.324),
        women: &["माया", "सीता", "पेमा", "ཚེ་རིང་", "လှလှ"],
        men: &["कृष्ण", "बिष्णु", "དོན་གྲུབ", "หนู"],
        families: &["थापा", "गुरुङ", "श्रेष्ठ", "တမန်"],
        villages: &["काभ्रे", "धादिङ", "李家村"],
    },
];

/// What a phone says about its software at that time, and whether it says it as an object with a namespace.
pub fn app_version(moment: Moment, random: &mut Random) -> (String, bool) {
    let build = random.between(2, 9);
    match (moment.year(), random.below(20)) {
        (_, 0) => ("2.0".to_owned(), random.chance(50)),
        (..=2014, 1..=3) => ("v1.2.3 (biz bazzle)".to_owned(), false),
        (..=2014, _) => {
            let text = format!(
                "CommCare ODK, version \"2.{build}.0\"(61{build}1). App v30{build}. CommCare Version 2.{build}. \
                 Build 61{build}1, built on: November-06-2012"
            );
            (text, true)
        }
        (..=2016, 1..=4) => (format!("कॉमकेयर \"2.27.{build}\" (41459{build}) b[9{build}]"), false),
        (2015..=2018, _) => {
            let text = format!(
                "CommCare Android, version \"2.2{build}.2\"(41456{build}). App v5{build}. CommCare Version 2.2{build}. \
                 Build 41456{build}, built on: 2016-05-01"
            );
            (text, build.is_multiple_of(2))
        }
        (_, 1..=5) => ("Formplayer Version: 2.53".to_owned(), false),
        (_, 6) => (format!("CommCare iPhone #10{build} preview"), false),
        _ => {
            let text = format!(
                "CommCare Android, version \"2.5{build}.1\"(46491{build}). App v102{build}. CommCare Version \
                 2.5{build}.1. Build 46491{build}, built on: 2022-09-01"
            );
            (text, false)
        }
    }
}

/// Who works in a project space: mostly people, sometimes the system or the demo.
pub fn user(place: usize, random: &mut Random) -> (String, String) {
    match random.below(40) {
        0 => ("demo_user".to_owned(), "demo_user".to_owned()),
        1 => ("system".to_owned(), "system".to_owned()),
        2 => ("commtrack-system".to_owned(), "commtrack-system".to_owned()),
        _ => {
            let number = random.between(1, 12);
            (format!("{place:02}f0c79e8b7911dfb7de0050560000{number:02}"), format!("chw{number:02}"))
        }
    }
}
