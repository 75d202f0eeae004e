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
    /// The code of the observation that it is a part of.
    pub part_of: Option<&'a str>,
    /// Its server says that it is not so: entered in error, cancelled, refuted.
    pub void: bool,
    /// Since 1970.
    pub day: Option<i32>,
    pub value: Option<f64>,
}

impl<'a> Record<'a> {
    /// `None`: the header or the end, without a row.
    pub fn read(message: &'a [u8]) -> sqlx::Result<Option<Self>> {
        let message = if message.starts_with(SIGNATURE) { message.get(HEADER..).unwrap_or_default() } else { message };
        let mut fields = Fields(message);
        // The header without a row.
        if message.is_empty() {
            return Ok(None);
        }
        match i16::from_be_bytes(*fields.take()?) {
            -1 => Ok(None),
            8 => fields.record().map(Some),
            other => Err(sqlx::Error::Protocol(format!("a row of COPY with {other} columns"))),
        }
    }
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn record(&mut self) -> sqlx::Result<Record<'a>> {
        Ok(Record {
            patient_id: self.text()?,
            code: self.text()?,
            display: self.text()?,
            unit: self.text()?,
            part_of: self.text()?,
            void: self.number()? == Some([1]),
            day: self.number()?.map(i32::from_be_bytes),
            value: self.number()?.map(f64::from_be_bytes),
        })
    }

    fn take<const N: usize>(&mut self) -> sqlx::Result<&'a [u8; N]> {
        let (taken, rest) = self.0.split_first_chunk().ok_or_else(broken)?;
        self.0 = rest;
        Ok(taken)
    }

    /// `None`: NULL.
    fn field(&mut self) -> sqlx::Result<Option<&'a [u8]>> {
        let Ok(length) = usize::try_from(i32::from_be_bytes(*self.take()?)) else { return Ok(None) };
        let (field, rest) = self.0.split_at_checked(length).ok_or_else(broken)?;
        self.0 = rest;
        Ok(Some(field))
    }

    fn text(&mut self) -> sqlx::Result<Option<&'a str>> {
        self.field()?.map(|bytes| std::str::from_utf8(bytes).map_err(|_| broken())).transpose()
    }

    fn number<const N: usize>(&mut self) -> sqlx::Result<Option<[u8; N]>> {
        self.field()?.map(|bytes| bytes.try_into().map_err(|_| broken())).transpose()
    }
}

/// Its content is not told: it is somebody's.
fn broken() -> sqlx::Error {
    sqlx::Error::Protocol("a row of COPY that breaks off".to_owned())
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
        let plain = row(&[Some(b"p"), None, Some(b""), Some(b"kg"), None, Some(&[1]), Some(&day), None]);
        let expected = Record { patient_id: Some("p"), display: Some(""), unit: Some("kg"), void: true, day: Some(7), ..Record::default() };
        let first = [SIGNATURE, &[0; 8], &plain].concat();
        assert_eq!(Record::read(&plain).unwrap().unwrap(), expected);
        assert_eq!(Record::read(&first).unwrap().unwrap(), expected);
        assert!(Record::read(&(-1_i16).to_be_bytes()).unwrap().is_none());
        assert!(Record::read(&[SIGNATURE, &[0; 8]].concat()).unwrap().is_none());
        assert!(Record::read(&plain[..plain.len() - 6]).is_err());
    }
}
