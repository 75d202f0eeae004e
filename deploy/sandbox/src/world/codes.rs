//! Real SNOMED CT, LOINC, `RxNorm` and CVX codes with their displays, and how often the generator uses them.

#[derive(Debug, Clone, Copy)]
pub enum System {
    Snomed,
    Loinc,
    RxNorm,
    Cvx,
}

impl System {
    pub fn url(self) -> &'static str {
        match self {
            Self::Snomed => "http://snomed.info/sct",
            Self::Loinc => "http://loinc.org",
            Self::RxNorm => "http://www.nlm.nih.gov/research/umls/rxnorm",
            Self::Cvx => "http://hl7.org/fhir/sid/cvx",
        }
    }
}

#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_field_names, reason = "FHIR's own names for the parts of a Coding")]
pub struct Code {
    pub system: System,
    pub code: &'static str,
    pub display: &'static str,
}

const fn snomed(code: &'static str, display: &'static str) -> Code {
    let system = System::Snomed;
    Code { system, code, display }
}

const fn loinc(code: &'static str, display: &'static str) -> Code {
    let system = System::Loinc;
    Code { system, code, display }
}

const fn rxnorm(code: &'static str, display: &'static str) -> Code {
    let system = System::RxNorm;
    Code { system, code, display }
}

const fn cvx(code: &'static str, display: &'static str) -> Code {
    let system = System::Cvx;
    Code { system, code, display }
}

/// A lasting disease: how likely at a given age, and what is prescribed for it.
#[derive(Debug)]
pub struct Chronic {
    pub code: Code,
    /// Prevalence at 10, 30, 50, 70 and 90 years.
    pub prevalence: [f64; 5],
    pub medication: &'static [Code],
}

pub const HYPERTENSION: Code = snomed("38341003", "Hypertensive disorder, systemic arterial (disorder)");
pub const DIABETES: Code = snomed("44054006", "Diabetes mellitus type 2 (disorder)");
pub const OBESITY: Code = snomed("162864005", "Body mass index 30+ - obesity (finding)");
pub const HYPERLIPIDEMIA: Code = snomed("55822004", "Hyperlipidemia (disorder)");

pub const CHRONIC: &[Chronic] = &[
    Chronic {
        code: HYPERTENSION,
        prevalence: [0.0, 0.09, 0.33, 0.62, 0.74],
        medication: &[
            rxnorm("314076", "lisinopril 10 MG Oral Tablet"),
            rxnorm("197361", "amlodipine 5 MG Oral Tablet"),
            rxnorm("310798", "hydrochlorothiazide 25 MG Oral Tablet"),
        ],
    },
    Chronic {
        code: DIABETES,
        prevalence: [0.0, 0.03, 0.12, 0.24, 0.22],
        medication: &[rxnorm("860975", "24 HR metformin hydrochloride 500 MG Extended Release Oral Tablet")],
    },
    Chronic {
        code: HYPERLIPIDEMIA,
        prevalence: [0.0, 0.08, 0.28, 0.46, 0.44],
        medication: &[rxnorm("312961", "simvastatin 20 MG Oral Tablet")],
    },
    Chronic { code: OBESITY, prevalence: [0.12, 0.3, 0.38, 0.34, 0.2], medication: &[] },
    Chronic {
        code: snomed("195967001", "Asthma (disorder)"),
        prevalence: [0.11, 0.08, 0.07, 0.07, 0.06],
        medication: &[
            rxnorm("745679", "200 ACTUAT albuterol 0.09 MG/ACTUAT Metered Dose Inhaler"),
            rxnorm("895994", "120 ACTUAT fluticasone propionate 0.044 MG/ACTUAT Metered Dose Inhaler"),
        ],
    },
    Chronic {
        code: snomed("35489007", "Depressive disorder (disorder)"),
        prevalence: [0.02, 0.13, 0.12, 0.08, 0.08],
        medication: &[rxnorm("312941", "sertraline 50 MG Oral Tablet")],
    },
    Chronic {
        code: snomed("396275006", "Osteoarthritis (disorder)"),
        prevalence: [0.0, 0.02, 0.16, 0.36, 0.48],
        medication: &[rxnorm("849574", "naproxen sodium 220 MG Oral Tablet")],
    },
    Chronic {
        code: snomed("414545008", "Ischemic heart disease (disorder)"),
        prevalence: [0.0, 0.01, 0.05, 0.18, 0.3],
        medication: &[rxnorm("309362", "clopidogrel 75 MG Oral Tablet"), rxnorm("243670", "aspirin 81 MG Oral Tablet")],
    },
    Chronic {
        code: snomed("13645005", "Chronic obstructive lung disease (disorder)"),
        prevalence: [0.0, 0.0, 0.05, 0.12, 0.14],
        medication: &[rxnorm("745679", "200 ACTUAT albuterol 0.09 MG/ACTUAT Metered Dose Inhaler")],
    },
    Chronic {
        code: snomed("49436004", "Atrial fibrillation (disorder)"),
        prevalence: [0.0, 0.0, 0.02, 0.08, 0.16],
        medication: &[rxnorm("855332", "warfarin sodium 5 MG Oral Tablet")],
    },
    Chronic { code: snomed("709044004", "Chronic kidney disease (disorder)"), prevalence: [0.0, 0.02, 0.08, 0.24, 0.36], medication: &[] },
];

/// A passing complaint and what is given for it.
#[derive(Debug, Clone, Copy)]
pub struct Acute {
    pub code: Code,
    pub days: i64,
    pub medication: Option<Code>,
}

const ACETAMINOPHEN: Code = rxnorm("313782", "acetaminophen 325 MG Oral Tablet");
const IBUPROFEN: Code = rxnorm("310965", "ibuprofen 200 MG Oral Tablet");
const AMOXICILLIN: Code = rxnorm("308182", "amoxicillin 250 MG Oral Capsule");

pub const ACUTE: &[Acute] = &[
    Acute { code: snomed("444814009", "Viral sinusitis (disorder)"), days: 14, medication: None },
    Acute { code: snomed("195662009", "Acute viral pharyngitis (disorder)"), days: 10, medication: Some(ACETAMINOPHEN) },
    Acute { code: snomed("10509002", "Acute bronchitis (disorder)"), days: 14, medication: Some(ACETAMINOPHEN) },
    Acute { code: snomed("65363002", "Otitis media (disorder)"), days: 12, medication: Some(AMOXICILLIN) },
    Acute { code: snomed("68566005", "Urinary tract infectious disease (disorder)"), days: 8, medication: Some(AMOXICILLIN) },
    Acute { code: snomed("44465007", "Sprain of ankle (disorder)"), days: 21, medication: Some(IBUPROFEN) },
    Acute { code: snomed("279039007", "Low back pain (finding)"), days: 30, medication: Some(IBUPROFEN) },
    Acute { code: snomed("62106007", "Concussion with no loss of consciousness (disorder)"), days: 30, medication: Some(ACETAMINOPHEN) },
];

pub const PROCEDURES: &[Code] = &[
    snomed("430193006", "Medication reconciliation (procedure)"),
    snomed("710824005", "Assessment of health and social care needs (procedure)"),
    snomed("171207006", "Depression screening (procedure)"),
    snomed("29303009", "Electrocardiographic procedure (procedure)"),
    snomed("399208008", "Plain X-ray of chest (procedure)"),
    snomed("23426006", "Measurement of respiratory function (procedure)"),
    snomed("73761001", "Colonoscopy (procedure)"),
];

pub const VACCINES_CHILD: &[Code] = &[
    cvx("20", "DTaP"),
    cvx("10", "IPV"),
    cvx("03", "MMR"),
    cvx("21", "varicella"),
    cvx("08", "Hep B, adolescent or pediatric"),
    cvx("140", "Influenza, seasonal, injectable, preservative free"),
];

pub const VACCINES_ADULT: &[Code] = &[
    cvx("140", "Influenza, seasonal, injectable, preservative free"),
    cvx("140", "Influenza, seasonal, injectable, preservative free"),
    cvx("115", "Tdap"),
    cvx("208", "COVID-19, mRNA, LNP-S, PF, 30 mcg/0.3 mL dose"),
    cvx("187", "zoster recombinant"),
    cvx("33", "pneumococcal polysaccharide PPV23"),
];

/// Category of `AllergyIntolerance`, and the allergy.
pub const ALLERGIES: &[(&str, Code)] = &[
    ("food", snomed("91935009", "Allergy to peanut (finding)")),
    ("environment", snomed("418689008", "Allergy to grass pollen (finding)")),
    ("environment", snomed("232347008", "Allergy to animal dander (finding)")),
    ("environment", snomed("232350006", "Allergy to house dust mite (finding)")),
    ("medication", snomed("91936005", "Allergy to penicillin (finding)")),
];

pub const WELLNESS_VISIT: Code = snomed("162673000", "General examination of patient (procedure)");
pub const WELL_CHILD_VISIT: Code = snomed("410620009", "Well child visit (procedure)");
pub const PROBLEM_VISIT: Code = snomed("185347001", "Encounter for problem (procedure)");
pub const FOLLOW_UP_VISIT: Code = snomed("390906007", "Follow-up encounter (procedure)");
pub const EMERGENCY_VISIT: Code = snomed("50849002", "Emergency room admission (procedure)");
pub const HOSPITAL_STAY: Code = snomed("183452005", "Emergency hospital admission (procedure)");

pub const BODY_HEIGHT: Code = loinc("8302-2", "Body height");
pub const BODY_WEIGHT: Code = loinc("29463-7", "Body weight");
pub const BMI: Code = loinc("39156-5", "Body mass index (BMI) [Ratio]");
pub const BLOOD_PRESSURE: Code = loinc("85354-9", "Blood pressure panel with all children optional");
pub const SYSTOLIC: Code = loinc("8480-6", "Systolic blood pressure");
pub const DIASTOLIC: Code = loinc("8462-4", "Diastolic blood pressure");
pub const HEART_RATE: Code = loinc("8867-4", "Heart rate");
pub const HBA1C: Code = loinc("4548-4", "Hemoglobin A1c/Hemoglobin.total in Blood");
pub const GLUCOSE: Code = loinc("2339-0", "Glucose [Mass/volume] in Blood");
pub const CHOLESTEROL: Code = loinc("2093-3", "Cholesterol [Mass/volume] in Serum or Plasma");
pub const HDL: Code = loinc("2085-9", "Cholesterol in HDL [Mass/volume] in Serum or Plasma");
pub const LDL: Code = loinc("18262-6", "Cholesterol in LDL [Mass/volume] in Serum or Plasma by Direct assay");
pub const TRIGLYCERIDES: Code = loinc("2571-8", "Triglyceride [Mass/volume] in Serum or Plasma");
pub const SMOKING: Code = loinc("72166-2", "Tobacco smoking status");
pub const LIPID_PANEL: Code = loinc("57698-3", "Lipid panel with direct LDL - Serum or Plasma");
pub const METABOLIC_PANEL: Code = loinc("51990-0", "Basic metabolic panel - Blood");

pub const NEVER_SMOKED: Code = snomed("266919005", "Never smoked tobacco (finding)");
pub const EX_SMOKER: Code = snomed("8517006", "Ex-smoker (finding)");
pub const SMOKER: Code = snomed("449868002", "Smokes tobacco daily (finding)");
