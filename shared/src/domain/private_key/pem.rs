//! PEM, read with tolerance: written line ends, blanks instead of line ends, other blocks around the key.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::BadKey;

const BASE64: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

pub enum Form {
    Pkcs8,
    Pkcs1,
    Sec1,
}

pub struct Found {
    pub form: Form,
    pub der: Vec<u8>,
}

/// The first private key of a text. (OpenSSL writes `EC PARAMETERS` before it.)
pub fn private(text: &str) -> Result<Found, BadKey> {
    // A PEM pasted into JSON or .env often has its line ends as the two characters "\n".
    let text = text.replace("\\r", "\n").replace("\\n", "\n");
    let mut rest = text.as_str();
    let mut only_public = false;
    while let Some((_, after)) = rest.split_once("-----BEGIN ") {
        let (label, after) = after.split_once("-----").ok_or(BadKey::Pem)?;
        let (body, after) = after.split_once(&format!("-----END {label}-----")).ok_or(BadKey::Pem)?;
        rest = after;
        let form = match label {
            "PRIVATE KEY" => Form::Pkcs8,
            "RSA PRIVATE KEY" => Form::Pkcs1,
            "EC PRIVATE KEY" => Form::Sec1,
            "ENCRYPTED PRIVATE KEY" => return Err(BadKey::Encrypted),
            "PUBLIC KEY" | "RSA PUBLIC KEY" | "CERTIFICATE" => {
                only_public = true;
                continue;
            }
            _ => continue,
        };
        if body.contains("Proc-Type:") {
            return Err(BadKey::Encrypted);
        }
        let body: String = body.chars().filter(|c| !c.is_whitespace()).collect();
        let der = BASE64.decode(body).map_err(|_| BadKey::Pem)?;
        return Ok(Found { form, der });
    }
    Err(if only_public { BadKey::NoPrivateKey } else { BadKey::Pem })
}
