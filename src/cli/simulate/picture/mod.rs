//! A play as a picture: prices and bids, GPUs, launches and losses, and cost over time, one above the other.
//!
//! The picture is an SVG by itself: no script, no font and nothing else from elsewhere, and it follows the reader's wish for
//! light or dark. Binary floating point is for drawing only.

mod film;
mod strip;

pub use film::Film;

use crate::{admin::chart, cli::text, model::Timestamp, sim::trace::Billing};
use film::{Column, Range};
use maud::{Markup, PreEscaped, html};
use strip::{Scale, band, one, steps_of};

/// The picture's size and its parts', in its own units.
const WIDTH: f64 = 1_136.0;
const LEFT: f64 = 72.0;
/// As many columns as pixels.
const PLOT: f64 = film::COLUMNS_MAX as f64;
const TITLE: f64 = 60.0;
/// Above each strip, for its title and legend.
const HEAD: f64 = 34.0;
const BELOW: f64 = 30.0;
const HEIGHTS: [f64; 4] = [210.0, 110.0, 84.0, 170.0];
/// Marks on the axis of time at most.
const MARKS_MAX: i64 = 9;
/// How far marks may be apart, in seconds.
const MARKS_S: [i64; 12] =
    [300, 900, 3_600, 7_200, 21_600, 43_200, 86_400, 172_800, 604_800, 1_209_600, 2_592_000, 31_536_000];
/// Beyond so many times the on-demand price prices are cut.
const PRICE_CUT: f64 = 1.25;

const STYLE: &str = "svg{--ground:#fff;--ink:#1f2430;--quiet:#69707d;--grid:#e3e6eb;--a:#2f6fde;--b:#e08a00;--c:#8d96a5;\
--good:#1d9a6c;--bad:#d43d51;background:var(--ground);font:12px system-ui,sans-serif}\
@media(prefers-color-scheme:dark){svg{--ground:#14171d;--ink:#e6e9ef;--quiet:#98a1b0;--grid:#2a303a;--a:#6ea3ff;--b:#ffb547;\
--c:#7b8494;--good:#3ecf98;--bad:#ff6b7d}}\
.ground{fill:var(--ground)}text{fill:var(--ink)}.quiet{fill:var(--quiet)}.h1{font-size:16px;font-weight:600}\
.h2{font-weight:600}.grid{stroke:var(--grid)}.base{stroke:var(--quiet)}.line{fill:none;stroke-width:1.5}\
.thin{fill:none;stroke-width:1;stroke-dasharray:5 4}.area{stroke-width:1;stroke-linejoin:round}\
.a{stroke:var(--a)}.b{stroke:var(--b)}.c{stroke:var(--c)}.good{stroke:var(--good)}.bad{stroke:var(--bad)}\
.fa{fill:var(--a)}.fb{fill:var(--b)}.fc{fill:var(--c)}.fgood{fill:var(--good)}.fbad{fill:var(--bad)}.soft{fill-opacity:.2}.full{fill-opacity:.4}";

/// What is told about a play beside what was filmed.
pub struct Told {
    /// Who played.
    pub player: String,
    /// The figures that stand below the title.
    pub figures: String,
    /// The clairvoyant minimum in US dollars.
    pub bound_usd: f64,
}

/// How a legend shows a line.
#[derive(Clone, Copy)]
enum Look {
    /// Filled between the least and the most.
    Area,
    /// A line.
    Line,
    /// Dashed.
    Thin,
    /// Nothing: words alone.
    Words,
}

struct Entry {
    look: Look,
    colour: &'static str,
    name: String,
}

fn entry(look: Look, colour: &'static str, name: impl Into<String>) -> Entry {
    Entry { look, colour, name: name.into() }
}

/// The whole picture.
pub fn draw(film: &Film, told: &Told) -> String {
    let mut tops = Vec::new();
    let mut bottom = TITLE;
    for height in HEIGHTS {
        tops.push(bottom + HEAD);
        bottom += HEAD + height;
    }
    let height = bottom + BELOW;
    let strips = [prices, gpus, moves, cost].into_iter().zip(tops).zip(HEIGHTS);
    let billing = match film.billing {
        Billing::Bid => "a spot VM pays its bid",
        Billing::Market => "a spot VM pays the market's price",
    };
    let picture = html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {WIDTH} {height}")) width=(WIDTH) height=(height)
            role="img" aria-label=(format!("Prices, GPUs and cost of {} over time", film.name)) {
            style { (PreEscaped(STYLE)) }
            rect.ground width="100%" height="100%" {}
            text.h1 x="16" y="26" { (film.name) ", played by " (told.player) }
            text.quiet x="16" y="46" { (told.figures) "; " (billing) }
            @for ((strip, top), height) in strips {
                (times(film, top, height))
                (strip(film, told, top, height))
            }
            (dates(film, bottom))
        }
    };
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}\n", picture.into_string())
}

/// A strip's title and what its lines mean.
fn head(top: f64, title: &str, entries: &[Entry]) -> Markup {
    // A letter is about so wide, and a bold one somewhat wider.
    let wide = |text: &str| text.chars().count() as f64 * 6.5;
    let mut x = LEFT + wide(title) * 1.2 + 20.0;
    let mut placed = Vec::new();
    for entry in entries {
        let swatch = match entry.look {
            Look::Area | Look::Line | Look::Thin => 22.0,
            Look::Words => 0.0,
        };
        placed.push((x, x + swatch, entry));
        x += swatch + wide(&entry.name) + 16.0;
    }
    let y = top - 10.0;
    html! {
            text.h2 x=(LEFT) y=(one(y)) { (title) }
            @for (x, words, Entry { look, colour, name }) in placed {
                @match look {
                    Look::Area => { rect class=(format!("f{colour}")) x=(one(x)) y=(one(y - 9.0)) width="16" height="10" rx="2" {} }
                    Look::Line => { path class=(format!("line {colour}")) d=(format!("M{} {}h16", one(x), one(y - 4.0))) {} }
                    Look::Thin => { path class=(format!("thin {colour}")) d=(format!("M{} {}h16", one(x), one(y - 4.0))) {} }
                    Look::Words => {}
    }
                text.quiet x=(one(words)) y=(one(y)) { (name) }
            }
        }
}

/// Horizontal lines with their values.
fn lines(scale: Scale, gap: f64, decimals: usize) -> Markup {
    let values = (0u32..).map(|line| f64::from(line) * gap).take_while(|value| *value <= scale.most);
    html! {
        @for value in values {
            @let y = scale.y(value);
            line.grid x1=(LEFT) x2=(LEFT + PLOT) y1=(one(y)) y2=(one(y)) {}
            text.quiet x=(LEFT - 8.0) y=(one(y + 4.0)) text-anchor="end" { (format!("{value:.decimals$}")) }
        }
    }
}

/// A line of one value from end to end.
fn level(scale: Scale, value: f64, colour: &str) -> Markup {
    let d = format!("M{LEFT} {}h{PLOT}", one(scale.y(value)));
    html! { path class=(format!("thin {colour}")) d=(d) {} }
}

fn area(film: &Film, scale: Scale, class: &str, of: fn(&Column) -> Option<Range>) -> Markup {
    let d = band(&film.columns, scale, LEFT, PLOT, of);
    html! { @if !d.is_empty() { path class=(format!("area {class}")) d=(d) {} } }
}

fn most(film: &Film, of: fn(&Column) -> Option<Range>) -> f64 {
    film.columns.iter().filter_map(of).map(|range| range.high).fold(0.0, f64::max)
}

fn prices(film: &Film, _: &Told, top: f64, height: f64) -> Markup {
    let seen = most(film, |column| column.cheapest).max(most(film, |column| column.held));
    let seen = seen.max(most(film, |column| column.bids)).max(film.on_demand_usd);
    let cut = film.on_demand_usd * PRICE_CUT;
    let scale = Scale { top, height, most: (seen * 1.05).min(cut).max(0.001) };
    let gap = chart::step(scale.most);
    let mut entries = vec![
        entry(Look::Area, "c", "cheapest pool"),
        entry(Look::Area, "a", "pools held"),
        entry(Look::Area, "b", "bids held"),
        entry(Look::Thin, "bad", "on demand"),
    ];
    if seen > cut {
        entries.push(entry(Look::Words, "", "what is dearer is cut at the top"));
    }
    html! {
        (head(top, "USD per GPU-hour", &entries))
        (lines(scale, gap, 2))
        (area(film, scale, "c fc soft", |column| column.cheapest))
        (area(film, scale, "a fa soft", |column| column.held))
        (area(film, scale, "b fb soft", |column| column.bids))
        (level(scale, film.on_demand_usd, "bad"))
    }
}

fn gpus(film: &Film, _: &Told, top: f64, height: f64) -> Markup {
    let target = f64::from(film.target_gpus);
    let scale = Scale { top, height, most: most(film, |column| column.ready).max(target) * 1.12 };
    // From nothing up to the least, then on to the most in a lighter tone.
    let floor = |column: &Column| column.ready.map(|ready| Range { low: 0.0, high: ready.low });
    let entries = [
        entry(Look::Area, "a", "ready (fainter: at most)"),
        entry(Look::Area, "b", "of these on demand, at most"),
        entry(Look::Thin, "good", "target"),
    ];
    html! {
        (head(top, "GPUs", &entries))
        (lines(scale, chart::step(scale.most).max(1.0), 0))
        (area(film, scale, "fa full", floor))
        (area(film, scale, "fa soft", |column| column.ready))
        (area(film, scale, "fb", |column| column.on_demand.filter(|it| it.high > 0.0).map(|it| Range { low: 0.0, high: it.high })))
        (level(scale, target, "good"))
    }
}

fn moves(film: &Film, _: &Told, top: f64, height: f64) -> Markup {
    let most = film.columns.iter().map(|column| column.launched.max(column.lost)).max().unwrap_or(0).max(1);
    let middle = top + height / 2.0;
    let tall = |vms: u64| vms as f64 / most as f64 * (height / 2.0 - 4.0);
    let wide = PLOT / film.columns.len().max(1) as f64;
    let marks = |sign: f64, of: fn(&Column) -> u64| {
        let mut d = String::new();
        for (at, column) in film.columns.iter().enumerate().filter(|(_, column)| of(column) > 0) {
            let (x, thick) = (LEFT + at as f64 * wide, wide.clamp(1.5, 6.0));
            let tall = tall(of(column)).max(3.0);
            d.push_str(&format!(
                "M{} {}v{}h{}v{}z",
                one(x),
                one(middle),
                one(-sign * tall),
                one(thick),
                one(sign * tall)
            ));
        }
        d
    };
    let (up, down) = (marks(1.0, |column| column.launched), marks(-1.0, |column| column.lost));
    let span = text::span(u64::from(film.dt_s).saturating_mul(steps_of(film)));
    let entries = [
        entry(Look::Area, "good", "launched"),
        entry(Look::Area, "bad", "lost"),
        entry(Look::Words, "", format!("in each column of {span}")),
    ];
    html! {
        (head(top, "VMs", &entries))
        line.base x1=(LEFT) x2=(LEFT + PLOT) y1=(one(middle)) y2=(one(middle)) {}
        @for (y, vms) in [(middle - tall(most), most), (middle, 0), (middle + tall(most), most)] {
            text.quiet x=(LEFT - 8.0) y=(one(y + 4.0)) text-anchor="end" { (vms) }
        }
        path.fgood d=(up) {}
        path.fbad d=(down) {}
    }
}

fn cost(film: &Film, told: &Told, top: f64, height: f64) -> Markup {
    let hours = f64::from(film.dt_s) * film.steps as f64 / 3_600.0;
    let on_demand = film.on_demand_usd * f64::from(film.target_gpus) * hours;
    let (paid, penalised) = film.columns.last().map_or((0.0, 0.0), |column| (column.cost, column.penalised));
    let scale = Scale { top, height, most: on_demand.max(penalised).max(told.bound_usd).max(0.001) * 1.05 };
    let wide = PLOT / film.columns.len().max(1) as f64;
    let course = |of: fn(&Column) -> f64| {
        let point = |(at, column): (usize, &Column)| {
            format!("L{} {}", one(LEFT + (at + 1) as f64 * wide), one(scale.y(of(column))))
        };
        let points: String = film.columns.iter().enumerate().map(point).collect();
        format!("M{LEFT} {}{points}", one(scale.y(0.0)))
    };
    let straight = |usd: f64| format!("M{LEFT} {}L{} {}", one(scale.y(0.0)), one(LEFT + PLOT), one(scale.y(usd)));
    let entries = [
        entry(Look::Line, "a", format!("paid: {paid:.2}")),
        entry(Look::Line, "b", format!("and penalised for missing GPUs: {penalised:.2}")),
        entry(Look::Thin, "bad", format!("all on demand: {on_demand:.2}")),
        entry(Look::Thin, "good", format!("the clairvoyant bound, as a steady rate: {:.2}", told.bound_usd)),
    ];
    let gap = chart::step(scale.most);
    html! {
        (head(top, "USD in all", &entries))
        (lines(scale, gap, if gap < 1.0 { 2 } else { 0 }))
        path class="thin bad" d=(straight(on_demand)) {}
        path class="thin good" d=(straight(told.bound_usd)) {}
        path class="line b" d=(course(|column| column.penalised)) {}
        path class="line a" d=(course(|column| column.cost)) {}
    }
}

/// Where marks stand in time: `(x, second)`.
fn marks(film: &Film) -> Vec<(f64, i64)> {
    let lasting = i64::from(film.dt_s).saturating_mul(i64::try_from(film.steps).unwrap_or(i64::MAX)).max(1);
    let apart = MARKS_S.into_iter().find(|apart| lasting / apart < MARKS_MAX).unwrap_or(lasting);
    let first = film.t0_s.div_euclid(apart) * apart;
    let end = film.t0_s.saturating_add(lasting);
    (0..=MARKS_MAX + 1)
        .map(|mark| first.saturating_add(mark.saturating_mul(apart)))
        .filter(|at| (film.t0_s..=end).contains(at))
        .map(|at| (LEFT + (at - film.t0_s) as f64 / lasting as f64 * PLOT, at))
        .collect()
}

fn times(film: &Film, top: f64, height: f64) -> Markup {
    html! {
        @for (x, _) in marks(film) {
            line.grid x1=(one(x)) x2=(one(x)) y1=(one(top)) y2=(one(top + height)) {}
        }
    }
}

/// The days or hours below all strips.
fn dates(film: &Film, bottom: f64) -> Markup {
    let marks = marks(film);
    let are_days = marks.iter().all(|(_, at)| at % 86_400 == 0);
    let show = |at: i64| {
        let at = Timestamp::from_second(at).unwrap_or(Timestamp::UNIX_EPOCH);
        at.strftime(if are_days { "%Y-%m-%d" } else { "%m-%d %H:%M" }).to_string()
    };
    html! {
        @for (x, at) in marks {
            // The last ones would stand out of the picture.
            @let anchor = if x > LEFT + PLOT - 36.0 { "end" } else { "middle" };
            text.quiet x=(one(x)) y=(one(bottom + 20.0)) text-anchor=(anchor) { (show(at)) }
        }
        text.quiet x="16" y=(one(bottom + 20.0)) { "UTC" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::{
        suite::Peer,
        trace::{Rules, grid::tests::market, run::play_before},
    };
    use std::sync::Arc;

    /// Held beside the code; when a drawing is to change, its new text is what the test prints.
    const TINY: &str = include_str!("tiny.svg");

    fn picture(target_gpus: u32, prices: &str) -> String {
        let market = Arc::new(market(target_gpus, "1.00x1 2.00x2", prices, None));
        let rules = Rules::of(Billing::Bid);
        let mut film = Film::new(&market, rules);
        play_before(market, rules, Peer::LowestPrice.policy().as_mut(), &mut film);
        let told = Told { player: "a peer".to_owned(), figures: "score <1>".to_owned(), bound_usd: 0.5 };
        draw(&film, &told)
    }

    #[test]
    fn a_tiny_play_is_drawn_as_it_was() {
        let now = picture(2, "0.20 0.20 0.80 0.30 0.30 0.20|0.60 0.60 0.60 0.60 0.60 0.60");
        assert!(now == TINY, "{now}");
    }

    #[test]
    fn whatever_is_drawn_is_a_picture() {
        for prices in ["0.00|0.00", "9.00|90.00", "0.10 900.00 0.10|0.00 0.00 0.00"] {
            let picture = picture(1, prices);
            assert!(!picture.contains("NaN") && !picture.contains("inf"), "{picture}");
            assert!(picture.starts_with("<?xml") && picture.trim_end().ends_with("</svg>"));
            assert!(picture.contains("score &lt;1&gt;"), "texts are escaped");
        }
    }

    #[test]
    fn the_axis_of_time_has_a_few_marks_however_long_it_is() {
        for steps in [1, 10, 100, 10_000, 1_000_000] {
            let market = market(1, "1.00x1", "0.10", None);
            let mut film = Film::new(&market, Rules::of(Billing::Bid));
            film.steps = steps;
            let marks = marks(&film).len();
            assert!((1..=10).contains(&marks) || steps == 1, "{steps} steps: {marks}");
        }
    }
}
