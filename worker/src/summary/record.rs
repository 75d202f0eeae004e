//! A row as COPY sends it in binary ("COPY", "Binary Format"): each in a message of its own, the first one behind the header.

const SIGNATURE: &[u8] = b"PGCOPY\n\xFF\r\n\0";
const HEADER: usize = SIGNATURE.len() + 8;

/// What is summed up of a resource.
#[derive(Debug, Default, PartialEq)]
pub struct Record<'a> {
    pub patient_id: Option<&'a str>,
    pub code: Option<&'a str>,
    pub display: Option<&'a str>,
    pub unit: Option<&'a str>,
    /// Since 1970.
    pub day: Option<i32>,
    pub value: Option<f64>,
}

impl<'a> Record<'a> {
    /// `None`: the header or the end, without a row.
    pub fn read(message: &'a [u8]) -> sqlx::Result<Option<Self>> {
        let message = if message.starts_with(SIGNATURE) { message.get(HEADER..).unwrap_or_default() } else { message };
        let mut fields = Fields(message);
        match fields.i16() {
            None | Some(-1) => Ok(None),
            Some(6) => fields.record().map(Some).ok_or_else(|| sqlx::Error::Protocol("a row of COPY that breaks off".to_owned())),
            Some(other) => Err(sqlx::Error::Protocol(format!("a row of COPY with {other} columns"))),
        }
    }
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn record(&mut self) -> Option<Record<'a>> {
        Some(Record {
            patient_id: self.text()?,
            code: self.text()?,
            display: self.text()?,
            unit: self.text()?,
            day: self.field()?.map(|bytes| bytes.try_into().map(i32::from_be_bytes)).transpose().ok()?,
            value: self.field()?.map(|bytes| bytes.try_into().map(f64::from_be_bytes)).transpose().ok()?,
        })
    }

    fn i16(&mut self) -> Option<i16> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(i16::from_be_bytes(*number))
    }

    /// `Some(None)`: NULL.
    fn field(&mut self) -> Option<Option<&'a [u8]>> {
        let (length, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else { return Some(None) };
        let (field, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(Some(field))
    }

    fn text(&mut self) -> Option<Option<&'a str>> {
        self.field()?.map(std::str::from_utf8).transpose().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(fields: &[Option<&[u8]>]) -> Vec<u8> {
        let mut row = i16::try_from(fields.len()).unwrap().to_be_bytes().to_vec();
        for field in fields {
            let length = field.map_or(-1, |field| i32::try_from(field.len()).unwrap());
            row.extend(length.to_be_bytes());
            row.extend(field.unwrap_or_default());
        }
        row
    }

    #[test]
    fn a_row_is_read_behind_the_header_and_without_it() {
        let day = 7_i32.to_be_bytes();
        let plain = row(&[Some(b"p"), None, Some(b""), Some(b"kg"), Some(&day), None]);
        let expected = Record { patient_id: Some("p"), display: Some(""), unit: Some("kg"), day: Some(7), ..Record::default() };
        let first = [SIGNATURE, &[0; 8], &plain].concat();
        assert_eq!(Record::read(&plain).unwrap().unwrap(), expected);
        assert_eq!(Record::read(&first).unwrap().unwrap(), expected);
        assert!(Record::read(&(-1_i16).to_be_bytes()).unwrap().is_none());
        assert!(Record::read(&[SIGNATURE, &[0; 8]].concat()).unwrap().is_none());
        assert!(Record::read(&plain[..plain.len() - 6]).is_err());
    }
}
