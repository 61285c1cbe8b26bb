//! Reads a folder of traces: `manifest.json`, and the compressed tables it names.
//!
//! The manifest says what each trace is: when it begins, how long a step is, the pools in the order of their indices and
//! the GPUs to be held. The tables hold change events. Everything is checked here and bounded, and a fault names the
//! file, the line and the field, all of them at once; what comes out is trusted by the rest of the rehearsal.
//!
//! Prices are read digit by digit into micros (the recorded ones have at most six decimals, so nothing is rounded).

use super::csv;
use crate::model::HourlyRate;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{collections::BTreeSet, fmt, fs::File, io::Read, path::Path};

/// The only form of manifest that is understood.
const FORMAT: u32 = 1;
/// The file that lists the traces.
const MANIFEST: &str = "manifest.json";
/// No file, and nothing unpacked from one, is larger.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// No trace has more pools.
const POOLS_MAX: usize = 1_000;
/// No grid has more cells: steps times pools.
const CELLS_MAX: u64 = 50_000_000;
/// No step is longer: a day, in seconds.
const DT_S_MAX: u32 = 86_400;
/// No VM has more GPUs.
const GPUS_PER_VM_MAX: u32 = 1_024;
/// Nobody wants more GPUs than this.
const TARGET_GPUS_MAX: u32 = 1_000_000;
/// No time is later, in seconds since 1970: the year 9999.
const TIME_S_MAX: i64 = 253_402_300_799;

/// All that is amiss with what was to be loaded; at least one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadFaults(Vec<LoadError>);

impl LoadFaults {
    /// One by one, in the order of the manifest and the lines.
    pub fn iter(&self) -> impl Iterator<Item = &LoadError> {
        self.0.iter()
    }
}

/// A line each.
impl fmt::Display for LoadFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(faults) = self;
        for (at, fault) in faults.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for LoadFaults {}

/// Why a trace cannot be played. The remedy is always to mend or replace a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// A file as a whole: missing, too large, not compressed, not text, without a pool.
    #[error("{file}: {what}")]
    File {
        /// Its name.
        file: String,
        /// What is amiss.
        what: String,
    },
    /// One row of a table.
    #[error("{file}:{line}: {field}: {what}")]
    Row {
        /// The table's name.
        file: String,
        /// Counted from 1, the header.
        line: usize,
        /// The column.
        field: String,
        /// What is amiss.
        what: String,
    },
    /// One trace of the manifest.
    #[error("{file}: trace `{trace}`: {field}: {what}")]
    Description {
        /// The manifest's name.
        file: String,
        /// The trace's name.
        trace: String,
        /// The member.
        field: String,
        /// What is amiss.
        what: String,
    },
}

labels! {
    /// What kind of market was recorded.
    pub enum Class {
        /// GPU spot prices set by bids; capacity unlimited.
        BidGpu = "bid-gpu",
        /// The same market's CPU types: one VM counts as one unit.
        BidCpu = "bid-cpu",
        /// Measured capacity at (nearly) constant prices.
        Avail = "avail",
        /// The lowest listed ask; not listed is no capacity.
        Listing = "listing",
    }
}

/// One kind of VM in one zone, with a spot price of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Where.
    pub zone: String,
    /// What the vendor calls the VM.
    pub instance_type: String,
    /// Its GPUs' model.
    pub gpu_model: String,
    /// How many; at least one.
    pub gpu_count: u32,
    /// One VM on demand; also the most that may be bid for one (the pool's cap).
    pub on_demand: HourlyRate,
}

impl Pool {
    /// What tells it from the trace's other pools.
    pub(super) fn key(&self) -> (&str, &str, u32) {
        (&self.zone, &self.gpu_model, self.gpu_count)
    }
}

/// From this moment on a pool has this value, until its next event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<T> {
    /// Seconds since 1970, UTC.
    pub at_s: i64,
    /// A price per VM-hour, or VMs that may be held.
    pub value: T,
}

/// One trace as recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// What it is called.
    pub name: String,
    /// Its kind.
    pub class: Class,
    /// When step 0 begins, in seconds since 1970, UTC.
    pub t0_s: i64,
    /// How long a step is, in seconds; at least one.
    pub dt_s: u32,
    /// How many steps; at least one.
    pub steps: usize,
    /// GPUs to be held; at least one.
    pub target_gpus: u32,
    /// In the order of their indices; at least one.
    pub pools: Vec<Pool>,
    /// Spot prices by pool, in order of time, at least one each.
    pub prices: Vec<Vec<Event<HourlyRate>>>,
    /// VMs that may be held by pool, likewise; `None` is unlimited.
    pub capacities: Option<Vec<Vec<Event<u32>>>>,
}

#[derive(Deserialize)]
struct RawManifest {
    format: u32,
    traces: Vec<RawTrace>,
}

#[derive(Deserialize)]
struct RawTrace {
    name: String,
    class: String,
    t0: i64,
    dt: u32,
    steps: u64,
    target_gpus: u32,
    price_file: String,
    avail_file: Option<String>,
    pools: Vec<RawPool>,
}

#[derive(Deserialize)]
struct RawPool {
    zone: String,
    instance_type: String,
    gpu_model: String,
    gpu_count: u32,
    on_demand_price_per_hr: Box<RawValue>,
}

/// Which traces of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chosen<'a> {
    /// All of them.
    All,
    /// The one of this name; what is amiss with others does not matter.
    One(&'a str),
}

/// Traces of a folder, in the manifest's order; at least one.
///
/// # Errors
/// All that is amiss, each with file, line and field.
pub fn folder(folder: &Path, chosen: Chosen<'_>) -> Result<Vec<Trace>, LoadFaults> {
    let read = |name: &str| {
        let failed =
            |error: std::io::Error| file_error(name, format!("cannot read it in {}: {error}", folder.display()));
        bounded(name, File::open(folder.join(name)).map_err(failed)?)
    };
    from_files(&read, chosen)
}

/// Whether a folder has a manifest.
pub fn is_folder(folder: &Path) -> bool {
    folder.join(MANIFEST).is_file()
}

/// Traces of a set of files, each given by its name in the folder.
///
/// # Errors
/// All that is amiss, each with file, line and field, or what `read` says.
pub fn from_files(
    read: &dyn Fn(&str) -> Result<Vec<u8>, LoadError>,
    chosen: Chosen<'_>,
) -> Result<Vec<Trace>, LoadFaults> {
    let whole = |what: String| LoadFaults(vec![file_error(MANIFEST, what)]);
    let bytes = read(MANIFEST).map_err(|error| LoadFaults(vec![error]))?;
    let manifest: RawManifest = serde_json::from_slice(&bytes).map_err(|error| whole(error.to_string()))?;
    if manifest.format != FORMAT {
        return Err(whole(format!("format {} is not {FORMAT}", manifest.format)));
    }
    let known: Vec<String> = manifest.traces.iter().map(|raw| raw.name.clone()).collect();
    let is_chosen = |name: &str| match chosen {
        Chosen::All => true,
        Chosen::One(one) => one == name,
    };
    let (mut names, mut traces, mut faults) = (BTreeSet::new(), Vec::new(), Vec::new());
    for raw in manifest.traces.into_iter().filter(|raw| is_chosen(&raw.name)) {
        if !names.insert(raw.name.clone()) {
            faults.push(wrong(&raw.name, "name", "another trace has it".to_owned()));
            continue;
        }
        match trace(raw, read) {
            Ok(trace) => traces.push(trace),
            Err(found) => faults.extend(found),
        }
    }
    if !faults.is_empty() {
        return Err(LoadFaults(faults));
    }
    match chosen {
        _ if !traces.is_empty() => Ok(traces),
        Chosen::All => Err(whole("it lists no trace".to_owned())),
        Chosen::One(name) => Err(whole(format!("it has no trace `{name}`, only {}", known.join(", ")))),
    }
}

fn file_error(file: &str, what: String) -> LoadError {
    LoadError::File { file: file.to_owned(), what }
}

fn wrong(trace: &str, field: &str, what: String) -> LoadError {
    LoadError::Description { file: MANIFEST.to_owned(), trace: trace.to_owned(), field: field.to_owned(), what }
}

/// All bytes, if they are not too many.
fn bounded(file: &str, from: impl Read) -> Result<Vec<u8>, LoadError> {
    bounded_to(FILE_BYTES_MAX, file, from)
}

fn bounded_to(bytes_max: u64, file: &str, from: impl Read) -> Result<Vec<u8>, LoadError> {
    let mut bytes = Vec::new();
    let size = from
        .take(bytes_max + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| file_error(file, format!("cannot read it: {error}")))?;
    if size as u64 > bytes_max {
        return Err(file_error(file, format!("it is larger than {bytes_max} bytes")));
    }
    Ok(bytes)
}

/// A number between two others, or a complaint.
fn within<T: PartialOrd + std::fmt::Display>(
    trace: &str,
    field: &str,
    value: T,
    min: T,
    max: T,
) -> Result<T, LoadError> {
    if value < min || value > max {
        return Err(wrong(trace, field, format!("{value} is not between {min} and {max}")));
    }
    Ok(value)
}

/// What came out well, and on the side what did not.
#[derive(Default)]
struct Sieve(Vec<LoadError>);

impl Sieve {
    fn keep<T>(&mut self, result: Result<T, LoadError>) -> Option<T> {
        result.map_err(|error| self.0.push(error)).ok()
    }

    fn keep_all<T>(&mut self, result: Result<T, Vec<LoadError>>) -> Option<T> {
        result.map_err(|errors| self.0.extend(errors)).ok()
    }
}

fn trace(raw: RawTrace, read: &dyn Fn(&str) -> Result<Vec<u8>, LoadError>) -> Result<Trace, Vec<LoadError>> {
    let RawTrace { name, class, t0, dt, steps, target_gpus, price_file, avail_file, pools } = raw;
    let mut sieve = Sieve::default();
    let class = sieve.keep(class.parse().map_err(|_| wrong(&name, "class", format!("`{class}` is not known"))));
    let t0_s = sieve.keep(within(&name, "t0", t0, 0, TIME_S_MAX));
    let dt_s = sieve.keep(within(&name, "dt", dt, 1, DT_S_MAX));
    let target_gpus = sieve.keep(within(&name, "target_gpus", target_gpus, 1, TARGET_GPUS_MAX));
    sieve.keep(within(&name, "pools", pools.len(), 1, POOLS_MAX));
    let steps_max = CELLS_MAX / (pools.len().max(1) as u64);
    let steps = sieve.keep(within(&name, "steps", steps, 1, steps_max)).and_then(|steps| usize::try_from(steps).ok());
    let found: Vec<Option<Pool>> = pools.into_iter().map(|raw| sieve.keep(pool(&name, raw))).collect();
    let pools: Option<Vec<Pool>> = found.into_iter().collect();
    let (Some(class), Some(t0_s), Some(dt_s), Some(steps), Some(target_gpus), Some(pools), true) =
        (class, t0_s, dt_s, steps, target_gpus, pools, sieve.0.is_empty())
    else {
        return Err(sieve.0);
    };
    let mut keys = BTreeSet::new();
    if let Some(twice) = pools.iter().find(|pool| !keys.insert(pool.key())) {
        let what = format!("{}, {}, {} is there twice", twice.zone, twice.gpu_model, twice.gpu_count);
        return Err(vec![wrong(&name, "pools", what)]);
    }
    let prices = sieve.keep(table(&name, "price_file", &price_file, read));
    let prices = prices.and_then(|text| sieve.keep_all(csv::prices(&price_file, &text, &pools)));
    let capacities = match &avail_file {
        Some(file) => {
            let text = sieve.keep(table(&name, "avail_file", file, read));
            Some(text.and_then(|text| sieve.keep_all(csv::capacities(file, &text, &pools))))
        }
        None => None,
    };
    let (Some(prices), true) = (prices, sieve.0.is_empty()) else { return Err(sieve.0) };
    Ok(Trace { name, class, t0_s, dt_s, steps, target_gpus, pools, prices, capacities: capacities.flatten() })
}

fn pool(trace: &str, raw: RawPool) -> Result<Pool, LoadError> {
    let RawPool { zone, instance_type, gpu_model, gpu_count, on_demand_price_per_hr } = raw;
    let on_demand = HourlyRate::from_price_literal(on_demand_price_per_hr.get())
        .map_err(|error| wrong(trace, "on_demand_price_per_hr", error.to_string()))?;
    if on_demand.is_zero() {
        return Err(wrong(trace, "on_demand_price_per_hr", "nothing is free".to_owned()));
    }
    let gpu_count = within(trace, "gpu_count", gpu_count, 1, GPUS_PER_VM_MAX)?;
    Ok(Pool { zone, instance_type, gpu_model, gpu_count, on_demand })
}

/// The text of a compressed table that lies in the folder itself.
fn table(
    trace: &str,
    field: &str,
    file: &str,
    read: &dyn Fn(&str) -> Result<Vec<u8>, LoadError>,
) -> Result<String, LoadError> {
    if file.is_empty() || file.contains(['/', '\\']) || file.starts_with('.') {
        return Err(wrong(trace, field, format!("`{file}` is no name of a file beside the manifest")));
    }
    let packed = read(file)?;
    let bytes = bounded(file, flate2::read::MultiGzDecoder::new(packed.as_slice()))?;
    String::from_utf8(bytes).map_err(|_| file_error(file, "it is not UTF-8 text".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeMap, io::Write};

    const MANIFEST_TEXT: &str = r#"{"format": 1, "traces": [{"name": "two", "class": "listing", "t0": 600, "dt": 300,
        "steps": 2, "target_gpus": 3, "price_file": "p.csv.gz", "avail_file": "a.csv.gz", "pools": [
        {"zone": "x", "instance_type": "t", "gpu_model": "M", "gpu_count": 1, "on_demand_price_per_hr": 0.65},
        {"zone": "y", "instance_type": "t8", "gpu_model": "M", "gpu_count": 8, "on_demand_price_per_hr": 5.2}]}]}"#;
    const PRICES: &str = "timestamp_s,zone,instance_type,gpu_model,gpu_count,spot_price_per_hr,on_demand_price_per_hr\n\
        600,x,t,M,1,0.065001,0.65\n600,y,t8,M,8,1.5,5.2\n700,x,t,M,1,0.07,0.65\n";
    const AVAIL: &str = "timestamp_s,zone,gpu_model,gpu_count,available\n600,x,M,1,4\n650,y,M,8,0\n";

    fn packed(text: &str) -> Vec<u8> {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(text.as_bytes()).unwrap();
        packer.finish().unwrap()
    }

    fn load(manifest: &str, prices: &str, avail: &str, chosen: Chosen<'_>) -> Result<Vec<Trace>, LoadFaults> {
        let files = BTreeMap::from([
            ("manifest.json", manifest.as_bytes().to_vec()),
            ("p.csv.gz", packed(prices)),
            ("a.csv.gz", packed(avail)),
            ("plain", b"not packed".to_vec()),
        ]);
        let read = |name: &str| files.get(name).cloned().ok_or_else(|| file_error(name, "it is not there".to_owned()));
        from_files(&read, chosen)
    }

    /// What is said when a piece of one of the files is another.
    #[track_caller]
    fn check(from: &str, to: &str, expected: &str) {
        let mut files = [MANIFEST_TEXT, PRICES, AVAIL].map(str::to_owned);
        let file = files.iter_mut().find(|file| file.contains(from)).unwrap();
        *file = file.replacen(from, to, 1);
        let said = load(&files[0], &files[1], &files[2], Chosen::All).unwrap_err().to_string();
        assert!(said.starts_with(expected), "{said}");
    }

    #[test]
    fn a_trace_is_read_with_its_prices_exact() {
        let traces = load(MANIFEST_TEXT, PRICES, AVAIL, Chosen::All).unwrap();
        let trace = traces.first().unwrap();
        assert_eq!((trace.class, trace.steps, trace.pools.len()), (Class::Listing, 2, 2));
        let micros = HourlyRate::from_micros;
        let first = [Event { at_s: 600, value: micros(65_001) }, Event { at_s: 700, value: micros(70_000) }];
        assert_eq!(trace.prices[0], first);
        assert_eq!(trace.pools[1].on_demand, micros(5_200_000));
        assert_eq!(trace.capacities.as_ref().unwrap()[1], [Event { at_s: 650, value: 0 }]);
    }

    #[test]
    fn what_is_wrong_in_a_table_is_said_with_file_line_and_field() {
        check("0.065001", "cheap", "p.csv.gz:2: spot_price_per_hr: `cheap` is not a decimal number");
        check("1.5,", "-1.5,", "p.csv.gz:3: spot_price_per_hr: `-1.5` is negative");
        check("700,x,t,", "700,x,u,", "p.csv.gz:4: instance_type: `u`, the manifest says `t`");
        check("1.5,5.2", "1.5,5.3", "p.csv.gz:3: on_demand_price_per_hr: 5.30, the manifest says 5.20");
        check("700,x", "600,x", "p.csv.gz:4: timestamp_s: 600 is not after the row before of the same pool");
        check("700,x", "noon,x", "p.csv.gz:4: timestamp_s: `noon` is not a whole number in range");
        check("1.5,5.2", "1.5", "p.csv.gz:3: row: it has not 7 fields");
        check("1.5,5.2", "1.5,5.2,", "p.csv.gz:3: row: it has not 7 fields");
        check("spot_price_per_hr", "price", "p.csv.gz:1: header: it is not `timestamp_s,zone");
        check("600,x,M,1,4", "600,z,M,1,4", "a.csv.gz:2: zone: the manifest has no pool z, M, 1");
        check("600,x,M,1,4", "600,x,M,1,-4", "a.csv.gz:2: available: `-4` is not a whole number in range");
        check("650,y,M,8,0\n", "", "a.csv.gz: no row of the pool y, M, 8");
    }

    #[test]
    fn what_is_wrong_in_the_manifest_is_said_with_trace_and_field() {
        check("\"format\": 1", "\"format\": 2", "manifest.json: format 2 is not 1");
        check("listing", "auction", "manifest.json: trace `two`: class: `auction` is not known");
        check("\"dt\": 300", "\"dt\": 0", "manifest.json: trace `two`: dt: 0 is not between 1 and 86400");
        check("\"steps\": 2", "\"steps\": 25000001", "manifest.json: trace `two`: steps: 25000001 is not between");
        check("\"target_gpus\": 3", "\"target_gpus\": 0", "manifest.json: trace `two`: target_gpus: 0 is not");
        check("0.65}", "\"x\"}", "manifest.json: trace `two`: on_demand_price_per_hr: ");
        check("\"steps\": 2,", "", "manifest.json: missing field `steps`");
        let pools = ["\"zone\": \"y\"", "\"gpu_count\": 8"];
        let twice = MANIFEST_TEXT.replace(pools[0], "\"zone\": \"x\"").replace(pools[1], "\"gpu_count\": 1");
        let said = load(&twice, PRICES, AVAIL, Chosen::All).unwrap_err().to_string();
        assert_eq!(said, "manifest.json: trace `two`: pools: x, M, 1 is there twice");
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once_and_of_no_other_trace_than_the_chosen() {
        let prices = PRICES.replace("0.065001", "cheap").replace("700,x", "noon,x");
        let avail = AVAIL.replace("600,x,M,1,4", "600,x,M,1,-4");
        let said = load(MANIFEST_TEXT, &prices, &avail, Chosen::All).unwrap_err().to_string();
        let places: Vec<&str> = said.lines().map(|line| line.split(": ").next().unwrap()).collect();
        assert_eq!(places, ["p.csv.gz:2", "p.csv.gz:4", "a.csv.gz:2"], "{said}");
        let manifest = MANIFEST_TEXT.replace("listing", "auction").replace("\"dt\": 300", "\"dt\": 0");
        assert_eq!(load(&manifest, PRICES, AVAIL, Chosen::All).unwrap_err().iter().count(), 2);

        let two = MANIFEST_TEXT.strip_prefix(r#"{"format": 1, "traces": ["#).unwrap();
        let other = two.replace("\"two\"", "\"bad\"").replace("listing", "auction").replace("]}]}", "]}");
        let manifest = format!(r#"{{"format": 1, "traces": [{other}, {two}"#);
        assert!(load(&manifest, PRICES, AVAIL, Chosen::One("two")).is_ok());
        assert!(load(&manifest, PRICES, AVAIL, Chosen::All).is_err());
        let said = load(&manifest, PRICES, AVAIL, Chosen::One("three")).unwrap_err().to_string();
        assert_eq!(said, "manifest.json: it has no trace `three`, only bad, two");
        let said = load(r#"{"format": 1, "traces": []}"#, PRICES, AVAIL, Chosen::All).unwrap_err().to_string();
        assert_eq!(said, "manifest.json: it lists no trace");
    }

    #[test]
    fn a_table_outside_the_folder_is_not_looked_for() {
        for name in ["../p.csv.gz", "/p", ".p", ""] {
            let expected = format!("manifest.json: trace `two`: price_file: `{name}` is no name of a file");
            check("p.csv.gz", name, &expected);
        }
        check("p.csv.gz", "gone", "gone: it is not there");
        check("p.csv.gz", "plain", "plain: cannot read it: ");
    }

    #[test]
    fn a_file_may_have_just_as_many_bytes_as_is_bounded() {
        let read = |bytes| bounded_to(100, "x", std::io::repeat(0).take(bytes)).map(|bytes| bytes.len());
        assert_eq!(read(100), Ok(100));
        assert_eq!(read(101).unwrap_err().to_string(), "x: it is larger than 100 bytes");
    }
}
