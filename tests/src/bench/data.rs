//! NDJSON to load: made-up resources of the shapes and sizes that Synthea's have, the same for the same seed; and Synthea's
//! own where this machine has them.

use std::{
    fmt::Write as _,
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
};

/// What kind of resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Observations of about 760 bytes.
    Small,
    /// ExplanationOfBenefits of about 3.6 kB.
    Large,
}

impl Shape {
    #[must_use]
    pub const fn resource_type(self) -> &'static str {
        match self {
            Self::Small => "Observation",
            Self::Large => "ExplanationOfBenefit",
        }
    }

    #[must_use]
    pub const fn table(self) -> &'static str {
        match self {
            Self::Small => "observations",
            Self::Large => "explanation_of_benefits",
        }
    }
}

/// xorshift64*: enough for made-up data.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }

    fn uuid(&mut self) -> uuid::Uuid {
        let (high, low) = (u128::from(self.next()), u128::from(self.next()));
        uuid::Builder::from_random_bytes(((high << 64) | low).to_be_bytes()).into_uuid()
    }
}

/// Writes about so many bytes of resources to a file; returns how many resources.
///
/// # Panics
/// If the file cannot be written.
pub fn write(path: &Path, shape: Shape, bytes: usize, seed: u64) -> u64 {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut out = BufWriter::with_capacity(1 << 20, std::fs::File::create(path).expect("a file"));
    let (mut written, mut lines) = (0, 0);
    let mut line = String::new();
    while written < bytes {
        line.clear();
        match shape {
            Shape::Small => observation(&mut random, &mut line),
            Shape::Large => explanation_of_benefit(&mut random, &mut line),
        }
        line.push('\n');
        out.write_all(line.as_bytes()).expect("room on the disk");
        written += line.len();
        lines += 1;
    }
    out.flush().expect("room on the disk");
    lines
}

/// The real resources of a type repeated with new ids to about so many bytes; `None` where this machine has none.
pub fn write_real(path: &Path, resource_type: &str, bytes: usize, seed: u64) -> Option<u64> {
    let ndjson = real(resource_type)?;
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut out = BufWriter::with_capacity(1 << 20, std::fs::File::create(path).ok()?);
    let (mut written, mut lines) = (0, 0);
    'full: loop {
        for line in ndjson.lines() {
            if written >= bytes {
                break 'full;
            }
            let (before, after) = line.split_once(r#""id":""#)?;
            let line = format!(r#"{before}"id":"{}"{}"#, random.uuid(), after.split_once('"')?.1);
            writeln!(out, "{line}").ok()?;
            written += line.len() + 1;
            lines += 1;
        }
    }
    out.flush().ok()?;
    Some(lines)
}

fn real(resource_type: &str) -> Option<String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/synthea-group");
    let file = std::fs::File::open(folder.join(format!("{resource_type}.ndjson.gz"))).ok()?;
    std::io::read_to_string(flate2::read::MultiGzDecoder::new(file)).ok().filter(|text| !text.is_empty())
}

const MEASURES: [(&str, &str, &str); 6] = [
    ("8302-2", "Body Height", "cm"),
    ("29463-7", "Body Weight", "kg"),
    ("39156-5", "Body mass index (BMI) [Ratio]", "kg/m2"),
    ("8867-4", "Heart rate", "/min"),
    ("2339-0", "Glucose [Mass/volume] in Blood", "mg/dL"),
    ("4548-4", "Hemoglobin A1c/Hemoglobin.total in Blood", "%"),
];

fn time(random: &mut Random) -> String {
    let (year, month, day) = (2005 + random.below(20), 1 + random.below(12), 1 + random.below(28));
    format!("{year}-{month:02}-{day:02}T{:02}:{:02}:{:02}", random.below(24), random.below(60), random.below(60))
}

fn observation(random: &mut Random, out: &mut String) {
    let (code, display, unit) = MEASURES[usize::try_from(random.below(6)).expect("one of six")];
    let at = time(random);
    let value = random.below(2000);
    write!(
        out,
        r#"{{"resourceType":"Observation","id":"{}","meta":{{"versionId":"1","lastUpdated":"{at}.{:03}-05:00","profile":["http://hl7.org/fhir/us/core/StructureDefinition/us-core-vital-signs"]}},"status":"final","category":[{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"vital-signs","display":"vital-signs"}}]}}],"code":{{"coding":[{{"system":"http://loinc.org","code":"{code}","display":"{display}"}}],"text":"{display}"}},"subject":{{"reference":"Patient/{}"}},"encounter":{{"reference":"Encounter/{}"}},"effectiveDateTime":"{at}-05:00","issued":"{at}.{:03}-05:00","valueQuantity":{{"value":{}.{},"unit":"{unit}","system":"http://unitsofmeasure.org","code":"{unit}"}}}}"#,
        random.uuid(),
        random.below(1000),
        random.uuid(),
        random.uuid(),
        random.below(1000),
        value / 10,
        value % 10,
    )
    .expect("a string takes everything");
}

fn money(random: &mut Random) -> String {
    format!("{}.{:02}", random.below(900), random.below(100))
}

fn explanation_of_benefit(random: &mut Random, out: &mut String) {
    let (patient, encounter, claim) = (random.uuid(), random.uuid(), random.uuid());
    let (from, to) = (time(random), time(random));
    write!(
        out,
        r##"{{"resourceType":"ExplanationOfBenefit","id":"{}","meta":{{"lastUpdated":"{to}.000-05:00","profile":["http://hl7.org/fhir/us/carin-bb/StructureDefinition/C4BB-ExplanationOfBenefit-Professional-NonClinician"]}},"contained":[{{"resourceType":"ServiceRequest","id":"referral","status":"completed","intent":"order","subject":{{"reference":"Patient/{patient}"}},"requester":{{"reference":"Practitioner/{}"}},"performer":[{{"reference":"Practitioner/{}"}}]}},{{"resourceType":"Coverage","id":"coverage","status":"active","type":{{"text":"Medicare"}},"beneficiary":{{"reference":"Patient/{patient}"}},"payor":[{{"display":"Medicare"}}]}}],"identifier":[{{"system":"https://bluebutton.cms.gov/resources/variables/clm_id","value":"{claim}"}},{{"system":"https://bluebutton.cms.gov/resources/identifier/claim-group","value":"{}"}}],"status":"active","type":{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/claim-type","code":"professional"}}]}},"use":"claim","patient":{{"reference":"Patient/{patient}"}},"billablePeriod":{{"start":"{from}-05:00","end":"{to}-05:00"}},"created":"{to}-05:00","insurer":{{"display":"Medicare"}},"provider":{{"reference":"Practitioner/{}"}},"claim":{{"reference":"Claim/{claim}"}},"outcome":"complete","careTeam":[{{"sequence":1,"provider":{{"reference":"Practitioner/{}"}},"role":{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/claimcareteamrole","code":"primary","display":"Primary provider"}}]}}}}],"insurance":[{{"focal":true,"coverage":{{"reference":"#coverage","display":"Medicare"}}}}],"item":["##,
        random.uuid(), random.uuid(), random.uuid(), random.uuid(), random.uuid(), random.uuid(),
    )
    .expect("a string takes everything");
    let items = 1 + u64::from(random.below(8) == 0);
    for n in 1..=items {
        let comma = if n > 1 { "," } else { "" };
        write!(
            out,
            r#"{comma}{{"sequence":{n},"category":{{"coding":[{{"system":"https://bluebutton.cms.gov/resources/variables/line_cms_type_srvc_cd","code":"1","display":"Medical care"}}]}},"productOrService":{{"coding":[{{"system":"http://snomed.info/sct","code":"{}","display":"Encounter for problem (procedure)"}}],"text":"Encounter for problem (procedure)"}},"servicedPeriod":{{"start":"{from}-05:00","end":"{to}-05:00"}},"locationCodeableConcept":{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/ex-serviceplace","code":"19","display":"Off Campus-Outpatient Hospital"}}]}},"net":{{"value":{},"currency":"USD"}},"encounter":[{{"reference":"Encounter/{encounter}"}}],"adjudication":[{}]}}"#,
            185_000_000 + random.below(999_999),
            money(random),
            adjudications(random),
        )
        .expect("a string takes everything");
    }
    write!(
        out,
        r#"],"total":[{{"category":{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/adjudication","code":"submitted","display":"Submitted Amount"}}],"text":"Submitted Amount"}},"amount":{{"value":{},"currency":"USD"}}}}],"payment":{{"amount":{{"value":{},"currency":"USD"}}}}}}"#,
        money(random),
        money(random),
    )
    .expect("a string takes everything");
}

fn adjudications(random: &mut Random) -> String {
    let kinds = [("line_coinsrnc_amt", "Line Beneficiary Coinsurance Amount"), ("line_sbmtd_chrg_amt", "Line Submitted Charge Amount")];
    let each = kinds.map(|(code, display)| {
        format!(
            r#"{{"category":{{"coding":[{{"system":"https://bluebutton.cms.gov/resources/codesystem/adjudication","code":"https://bluebutton.cms.gov/resources/variables/{code}","display":"{display}"}}]}},"amount":{{"value":{},"currency":"USD"}}}}"#,
            money(random)
        )
    });
    each.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_have_the_sizes_they_claim_and_are_json() {
        let folder = tempfile::tempdir().unwrap();
        for (shape, size) in [(Shape::Small, 700..820), (Shape::Large, 3_300..3_900)] {
            let path = folder.path().join("x");
            let lines = write(&path, shape, 1 << 20, 1);
            let text = std::fs::read_to_string(&path).unwrap();
            let each = text.len() / usize::try_from(lines).unwrap();
            assert!(size.contains(&each), "{shape:?}: {each} bytes");
            for line in text.lines().take(100) {
                let resource: serde_json::Value = serde_json::from_str(line).unwrap();
                assert_eq!(resource["resourceType"], shape.resource_type());
            }
        }
    }
}
