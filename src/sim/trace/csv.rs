//! The two tables of a trace, row by row.
//!
//! They are written by our own tools and quote nothing, so a row is its text split at commas. Whatever is amiss is said
//! with the line and the field, because a trace that is read half is worse than none.

use super::load::{Event, LoadError, Pool};
use crate::model::HourlyRate;
use std::collections::BTreeMap;

/// No more faulty rows of one table are told.
const FAULTS_MAX: usize = 20;
/// No table has more rows.
const ROWS_MAX: usize = 5_000_000;
/// The fields of a price table, in their order.
const PRICE_FIELDS: [&str; 7] =
    ["timestamp_s", "zone", "instance_type", "gpu_model", "gpu_count", "spot_price_per_hr", "on_demand_price_per_hr"];
/// The fields of an availability table, in their order.
const AVAIL_FIELDS: [&str; 5] = ["timestamp_s", "zone", "gpu_model", "gpu_count", "available"];

/// Spot prices per VM-hour, by pool.
pub(super) fn prices(file: &str, text: &str, pools: &[Pool]) -> Result<Vec<Vec<Event<HourlyRate>>>, Vec<LoadError>> {
    events(file, text, pools, PRICE_FIELDS, |row| {
        let [at_s, zone, instance_type, gpu_model, gpu_count, spot, on_demand] = row.fields;
        let pool = row.pool(zone, gpu_model, gpu_count)?;
        let known = &pools[pool];
        if *instance_type != known.instance_type {
            return Err(
                row.wrong("instance_type", format!("`{instance_type}`, the manifest says `{}`", known.instance_type))
            );
        }
        let on_demand = row.rate("on_demand_price_per_hr", on_demand)?;
        if on_demand != known.on_demand {
            return Err(
                row.wrong("on_demand_price_per_hr", format!("{on_demand}, the manifest says {}", known.on_demand))
            );
        }
        Ok((pool, Event { at_s: row.number("timestamp_s", at_s)?, value: row.rate("spot_price_per_hr", spot)? }))
    })
}

/// How many VMs may be held, by pool.
pub(super) fn capacities(file: &str, text: &str, pools: &[Pool]) -> Result<Vec<Vec<Event<u32>>>, Vec<LoadError>> {
    events(file, text, pools, AVAIL_FIELDS, |row| {
        let [at_s, zone, gpu_model, gpu_count, available] = row.fields;
        let pool = row.pool(zone, gpu_model, gpu_count)?;
        Ok((pool, Event { at_s: row.number("timestamp_s", at_s)?, value: row.number("available", available)? }))
    })
}

/// One row, and what is needed to complain about it.
struct Row<'a, const N: usize> {
    file: &'a str,
    line: usize,
    fields: &'a [&'a str; N],
    places: &'a BTreeMap<(&'a str, &'a str, u32), usize>,
}

impl<const N: usize> Row<'_, N> {
    fn wrong(&self, field: &str, what: String) -> LoadError {
        LoadError::Row { file: self.file.to_owned(), line: self.line, field: field.to_owned(), what }
    }

    fn number<T: std::str::FromStr>(&self, field: &str, text: &str) -> Result<T, LoadError> {
        text.parse().map_err(|_| self.wrong(field, format!("`{}` is not a whole number in range", shown(text))))
    }

    fn rate(&self, field: &str, text: &str) -> Result<HourlyRate, LoadError> {
        HourlyRate::from_price_literal(text).map_err(|error| self.wrong(field, error.to_string()))
    }

    /// Its pool's index.
    fn pool(&self, zone: &str, gpu_model: &str, gpu_count: &str) -> Result<usize, LoadError> {
        let count = self.number("gpu_count", gpu_count)?;
        let found = self.places.get(&(zone, gpu_model, count)).copied();
        found.ok_or_else(|| {
            self.wrong("zone", format!("the manifest has no pool {}, {}, {count}", shown(zone), shown(gpu_model)))
        })
    }
}

/// No more of a text than a person wants to see.
fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}

/// Every row of a table as an event of a pool; in order of time within each pool.
fn events<'a, T, const N: usize>(
    file: &'a str,
    text: &'a str,
    pools: &'a [Pool],
    names: [&str; N],
    read: impl Fn(&Row<'_, N>) -> Result<(usize, Event<T>), LoadError>,
) -> Result<Vec<Vec<Event<T>>>, Vec<LoadError>> {
    let places = pools.iter().enumerate().map(|(at, pool)| (pool.key(), at)).collect();
    let row_error = |line: usize, field: &str, what: String| LoadError::Row {
        file: file.to_owned(),
        line,
        field: field.to_owned(),
        what,
    };
    let mut lines = text.lines().zip(1..);
    let header = names.join(",");
    if lines.next().is_none_or(|(first, _)| first != header) {
        return Err(vec![row_error(1, "header", format!("it is not `{header}`"))]);
    }
    let mut found: Vec<Vec<Event<T>>> = pools.iter().map(|_| Vec::new()).collect();
    let mut faults = Vec::new();
    for (row, line) in lines {
        if line > ROWS_MAX {
            faults.push(row_error(line, "timestamp_s", format!("more than {ROWS_MAX} rows")));
        }
        if faults.len() >= FAULTS_MAX {
            break;
        }
        let fields: Vec<&str> = row.split(',').take(N + 1).collect();
        let fields: Result<&[&str; N], LoadError> = (fields.as_slice().try_into())
            .map_err(|_| row_error(line, "row", format!("it has not {N} fields: `{}`", shown(row))));
        let event = fields.and_then(|fields| read(&Row { file, line, fields, places: &places }));
        let placed = event.and_then(|(pool, event)| {
            let Some(earlier) = found.get_mut(pool) else { return Ok(()) };
            if earlier.last().is_some_and(|last| last.at_s >= event.at_s) {
                let what = format!("{} is not after the row before of the same pool", event.at_s);
                return Err(row_error(line, "timestamp_s", what));
            }
            earlier.push(event);
            Ok(())
        });
        faults.extend(placed.err());
    }
    // A row that does not read may have been the only one of its pool.
    if faults.is_empty() {
        let empty = pools.iter().zip(&found).filter(|(_, events)| events.is_empty());
        faults.extend(empty.map(|(pool, _)| {
            let what = format!("no row of the pool {}, {}, {}", pool.zone, pool.gpu_model, pool.gpu_count);
            LoadError::File { file: file.to_owned(), what }
        }));
    }
    if faults.is_empty() { Ok(found) } else { Err(faults) }
}
