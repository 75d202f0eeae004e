//! Deterministic randomness: the same seed gives the same bytes on every machine and in every version,
//! which no general-purpose random crate promises.

/// `SplitMix64` (Steele, Lea and Flood 2014): tiny, fast, and good enough for made-up patients.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// A stream of its own for each (seed, name, index), so one patient never depends on another.
    pub fn new(seed: u64, name: &str, index: u64) -> Self {
        // FNV-1a, because std's hashers promise no stability.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in name.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        let mut rng = Self(seed ^ hash);
        let start = rng.next();
        Self(start ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `0.0..1.0`.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in `low..=high`.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = high.abs_diff(low) + 1;
        low.wrapping_add_unsigned(self.next() % span)
    }

    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let at = usize::try_from(self.next() % from.len() as u64).unwrap_or(0);
        from[at]
    }

    /// Roughly normal: the sum of four uniforms (enough for believable vitals, no tails to explain).
    pub fn normal(&mut self, mean: f64, deviation: f64) -> f64 {
        let sum = self.unit() + self.unit() + self.unit() + self.unit();
        mean + (sum - 2.0) * 1.732 * deviation
    }

    /// A UUID-shaped id.
    pub fn id(&mut self) -> String {
        let bytes = (u128::from(self.next()) << 64) | u128::from(self.next());
        uuid::Builder::from_random_bytes(bytes.to_be_bytes()).into_uuid().to_string()
    }
}
