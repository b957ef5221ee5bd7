//! Charts: lines, points and bars over two axes, laid out once and drawn as SVG, whose colours are variables of the page they stand in, so
//! that they suit light and dark, or as pixels.

use crate::figures::short;
use kiln_learn::data::ImageSize;
use kiln_learn::forecast::Frequency;

use super::drawing::{ChartShape, DotStyle, Drawing, PathStroke, TextAnchor, TextStyle, svg};
use super::raster;
use super::time_axis::time_ticks;

/// Colours of the page, and of a chart that stands alone.
pub const COLOURS: &str = ":root{--ground:#fff;--ink:#1b1f24;--soft:#667079;--line:#d9dee3;--c0:#1764ab;--c1:#c2410c;--c2:#15803d;--c3:#7e22ce;--c4:#a16207;--c5:#0e7490;--c6:#be185d;--c7:#4b5563}\
@media(prefers-color-scheme:dark){:root{--ground:#14171a;--ink:#e8ebee;--soft:#98a2ab;--line:#30363c;--c0:#6cb2f5;--c1:#fb923c;--c2:#4ade80;--c3:#c084fc;--c4:#facc15;--c5:#22d3ee;--c6:#f472b6;--c7:#9ca3af}}";

/// What a chart's parts look like.
pub const STYLE: &str = "svg text{font:12px system-ui,sans-serif;fill:var(--soft)}svg .title{font-size:14px;font-weight:600;fill:var(--ink)}\
svg .axis{stroke:var(--line);stroke-width:1}svg .l{fill:none;stroke-width:2;stroke-linejoin:round}svg .p{stroke:none;opacity:.55}svg .a{stroke:none;opacity:.2}\
svg .b{stroke:none;opacity:.85}svg .h{fill-opacity:0}svg .h:hover{fill-opacity:.8}svg .n{font-size:10px}svg .guide{stroke:var(--soft);stroke-dasharray:4 4;fill:none}";

/// A chart.
pub struct Chart {
    pub title: String,
    pub x: String,
    pub y: String,
    pub series: Vec<Series>,
    /// A straight line from corner to corner, for comparison.
    pub diagonal: bool,
    /// Axes that must reach these, if given.
    pub bounds: Option<[f64; 4]>,
    /// Where the first axis is time, how often it steps.
    pub times: Option<Frequency>,
}

/// Points of one name.
pub struct Series {
    pub name: String,
    pub points: Vec<(f64, f64)>,
    pub mark: Mark,
    /// What stands beside each point, where anything does.
    pub labels: Vec<String>,
    /// The number of its colour, where that isn't its place among the others.
    pub colour: Option<usize>,
}

/// How points are drawn.
#[derive(Clone, Copy, PartialEq)]
pub enum Mark {
    Line,
    Points,
    Bars,
    /// What lies within the points, which go around it.
    Band,
}

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 46.0;
const BOTTOM: f64 = 44.0;

impl Series {
    /// A line through these points, without those that are no numbers.
    pub fn line(name: &str, points: impl IntoIterator<Item = (f64, f64)>) -> Series {
        Series::of(name, points, Mark::Line)
    }

    /// Points of this mark.
    pub fn of(name: &str, points: impl IntoIterator<Item = (f64, f64)>, mark: Mark) -> Series {
        let finite = |(x, y): &(f64, f64)| x.is_finite() && y.is_finite();
        let points = points.into_iter().filter(finite).collect();
        Series { name: name.to_string(), points, mark, labels: Vec::new(), colour: None }
    }

    /// In the colour of this number.
    pub fn coloured(self, colour: usize) -> Series {
        Series { colour: Some(colour), ..self }
    }
}

/// About how wide a letter of a chart is.
const LETTER: f64 = 6.6;

/// Colours there are for series.
const SERIES: usize = 8;

/// More points than these say nothing more when they are pointed at, or drawn.
const POINTED: usize = 250;
const DRAWN: usize = 3000;

impl Chart {
    /// An empty chart.
    pub fn new(title: &str, x: &str, y: &str) -> Chart {
        let [title, x, y] = [title, x, y].map(str::to_string);
        Chart { title, x, y, series: Vec::new(), diagonal: false, bounds: None, times: None }
    }

    /// With times on the first axis.
    pub fn over(self, frequency: Frequency) -> Chart {
        Chart { times: Some(frequency), ..self }
    }

    /// Ticks of the first axis, whole where all points are.
    fn ticks_across(&self, left: f64, right: f64) -> Vec<(f64, String)> {
        if self.times.is_some_and(|frequency| !frequency.is_of_numbers()) {
            return time_ticks(left, right);
        }
        let mut points = self.series.iter().flat_map(|series| &series.points);
        let is_whole = self.x == "epoch" || points.all(|(x, _)| x.fract() == 0.0);
        let all = ticks(left, right).into_iter().filter(|x| !is_whole || x.fract() == 0.0);
        all.map(|x| (x, short(x))).collect()
    }

    /// With another series.
    pub fn with(mut self, series: Series) -> Chart {
        self.series.push(series);
        self
    }

    /// The least and most of both axes.
    fn range(&self) -> [f64; 4] {
        let mut range =
            self.bounds.unwrap_or([f64::INFINITY, f64::NEG_INFINITY, f64::INFINITY, f64::NEG_INFINITY]);
        for &(x, y) in self.series.iter().flat_map(|series| &series.points) {
            range = [range[0].min(x), range[1].max(x), range[2].min(y), range[3].max(y)];
        }
        let bars = self.series.iter().filter(|series| series.mark == Mark::Bars);
        if let Some(count) = bars.map(|series| series.points.len()).max() {
            range[2] = range[2].min(0.0);
            // The first and the last bar are as wide as the others.
            let half = (range[1] - range[0]) / (2.0 * (count.max(2) - 1) as f64);
            range = [range[0] - half, range[1] + half, range[2], range[3]];
        }
        let wide = |least: f64, most: f64| match most - least {
            size if size.is_finite() && size > 0.0 => [least, most],
            _ if least.is_finite() => [least - 0.5, least + 0.5],
            _ => [0.0, 1.0],
        };
        let ([left, right], [low, high]) = (wide(range[0], range[1]), wide(range[2], range[3]));
        // Whole steps of the scale below and above.
        let step = step(low, high);
        [left, right, (low / step).floor() * step, (high / step).ceil() * step]
    }

    /// As SVG, for a page with [`COLOURS`] and [`STYLE`].
    pub fn svg(&self) -> String {
        svg(&self.drawing(), "")
    }

    /// As a file of its own.
    pub fn file(&self) -> String {
        svg(
            &self.drawing(),
            &format!(
                "<style>{COLOURS}{STYLE}</style><rect width=\"100%\" height=\"100%\" style=\"fill:var(--ground)\"/>"
            ),
        )
    }

    /// As a picture: pixels of red, green and blue, each colour a plane of its own, twice as fine as the page's.
    pub fn pixels(&self) -> (Vec<u8>, ImageSize) {
        raster::pixels(&self.drawing())
    }

    /// What is drawn, in its order.
    fn drawing(&self) -> Drawing {
        let [left, right, low, high] = self.range();
        // The widest number on the left stands between the axis and its name.
        let numbers = ticks(low, high).into_iter().map(|y| short(y).chars().count()).max().unwrap_or(0);
        let edge = LEFT.max(LETTER * numbers as f64 + 30.0);
        let (legend, lines) = self.legend(edge);
        // More lines of names make the whole taller, so that all charts are as large.
        let (top, tall) = (TOP + lines, HEIGHT + lines);
        let across = |x: f64| edge + (x - left) / (right - left) * (WIDTH - edge - RIGHT);
        let down = |y: f64| tall - BOTTOM - (y - low) / (high - low) * (tall - top - BOTTOM);
        let mut shapes =
            vec![ChartShape::text((edge, 18.0), &self.title, TextStyle::Title, TextAnchor::Start)];
        for y in ticks(low, high) {
            let at = down(y);
            shapes.push(ChartShape::path([(edge, at), (WIDTH - RIGHT, at)], PathStroke::Axis));
            shapes.push(ChartShape::text(
                (edge - 7.0, at + 4.0),
                &short(y),
                TextStyle::Plain,
                TextAnchor::End,
            ));
        }
        let mut free = 0.0;
        for (x, said) in self.ticks_across(left, right) {
            let (at, half) = (across(x), LETTER * said.chars().count() as f64 / 2.0);
            // No two touch, and none is cut off.
            if at - half < free || at + half > WIDTH {
                continue;
            }
            free = at + half + LETTER;
            shapes.push(ChartShape::text(
                (at, tall - BOTTOM + 17.0),
                &said,
                TextStyle::Plain,
                TextAnchor::Middle,
            ));
        }
        let middle = (edge + WIDTH - RIGHT) / 2.0;
        shapes.push(ChartShape::text((middle, tall - 8.0), &self.x, TextStyle::Plain, TextAnchor::Middle));
        let beside = (13.0, (top + tall - BOTTOM) / 2.0);
        shapes.push(ChartShape::text(beside, &self.y, TextStyle::Turned, TextAnchor::Middle));
        if self.diagonal {
            let (start, end) = (left.max(low), right.min(high));
            let ends = [(across(start), down(start)), (across(end), down(end))];
            shapes.push(ChartShape::path(ends, PathStroke::Guide));
        }
        for (number, series) in self.series.iter().enumerate() {
            let colour = series.colour.unwrap_or(number) % SERIES;
            let name = if series.name.is_empty() { String::new() } else { format!("{}: ", series.name) };
            let says = |x: f64, y: f64| match self.times {
                Some(frequency) => format!("{name}{}, {} {}", frequency.text(x), self.y, short(y)),
                None => format!("{name}{} {}, {} {}", self.x, short(x), self.y, short(y)),
            };
            let place = |&(x, y): &(f64, f64)| (across(x), down(y));
            match series.mark {
                Mark::Line => {
                    shapes
                        .push(ChartShape::path(series.points.iter().map(place), PathStroke::Series(colour)));
                    if let [point] = &series.points[..] {
                        shapes.push(ChartShape::Dot {
                            at: place(point),
                            radius: 3.0,
                            colour,
                            style: DotStyle::Solid,
                            title: None,
                        });
                    }
                    let step = series.points.len().div_ceil(POINTED).max(1);
                    shapes.extend(series.points.iter().step_by(step).map(|point| ChartShape::Dot {
                        at: place(point),
                        radius: 6.0,
                        colour,
                        style: DotStyle::Hover,
                        title: Some(says(point.0, point.1)),
                    }));
                }
                Mark::Band => {
                    let points = series.points.iter().map(place).collect();
                    shapes.push(ChartShape::Area { points, colour });
                }
                Mark::Points => {
                    shapes.extend(series.points.iter().take(DRAWN).enumerate().map(|(at, point)| {
                        ChartShape::Dot {
                            at: place(point),
                            radius: 2.5,
                            colour,
                            style: DotStyle::Pale,
                            title: (at < POINTED).then(|| says(point.0, point.1)),
                        }
                    }));
                }
                Mark::Bars => {
                    let count = series.points.len().max(1) as f64;
                    let wide = ((WIDTH - edge - RIGHT) / count * 0.85).max(1.0);
                    shapes.extend(series.points.iter().map(|&(x, y)| {
                        let (top, bottom) = (down(y.max(0.0)), down(y.min(0.0)));
                        let corner = (across(x) - wide / 2.0, top);
                        ChartShape::Bar { corner, size: (wide, bottom - top), colour, title: says(x, y) }
                    }));
                }
            }
            let mut placed: Vec<(f64, f64)> = Vec::new();
            for (label, &(x, y)) in series.labels.iter().zip(&series.points) {
                let (x, y) = (across(x), down(y) - 8.0);
                let width = LETTER * label.chars().count() as f64;
                if placed.iter().any(|(other, line)| (other - x).abs() < width && (line - y).abs() < 11.0) {
                    continue;
                }
                placed.push((x, y));
                shapes.push(ChartShape::text((x, y), label, TextStyle::Small, TextAnchor::Middle));
            }
            if let Some((x, y)) = legend[number] {
                shapes.push(ChartShape::path([(x, y), (x + 14.0, y)], PathStroke::Key(colour)));
                shapes.push(ChartShape::text(
                    (x + 19.0, y + 4.0),
                    &series.name,
                    TextStyle::Plain,
                    TextAnchor::Start,
                ));
            }
        }
        Drawing { title: self.title.clone(), width: WIDTH, height: tall, shapes }
    }

    /// Where the name of each series stands that has one, and how much room more than one line of them takes.
    fn legend(&self, edge: f64) -> (Vec<Option<(f64, f64)>>, f64) {
        const LINE: f64 = 17.0;
        let (mut x, mut y) = (edge, 32.0);
        let place = |series: &Series| {
            if series.name.is_empty() {
                return None;
            }
            let width = 34.0 + LETTER * series.name.chars().count() as f64;
            if x > edge && x + width > WIDTH {
                (x, y) = (edge, y + LINE);
            }
            let at = (x, y);
            x += width;
            Some(at)
        };
        let places = self.series.iter().map(place).collect();
        (places, y - 32.0)
    }
}

/// A round step that cuts a range in four to nine.
fn step(least: f64, most: f64) -> f64 {
    let rough = (most - least) / 5.0;
    let power = libm::pow(10.0, libm::log10(rough).floor());
    let times = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|times| times * power >= rough).unwrap_or(10.0);
    times * power
}

fn ticks(least: f64, most: f64) -> Vec<f64> {
    let step = step(least, most);
    let first = (least / step - 1e-9).ceil() as i64;
    (first..)
        .map(|number| number as f64 * step)
        .take_while(|tick| *tick <= most + step * 1e-9)
        .take(20)
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::figures::figure;

    use super::*;

    #[test]
    fn axes_have_round_ticks() {
        assert_eq!(ticks(0.0, 1.0), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0].map(|x: f64| (x / 0.2).round() * 0.2));
        assert_eq!(ticks(1.0, 10.0), [2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!([0.05, 1200.0, 2e6, -0.25].map(short), ["0.05", "1200", "2,000,000", "-0.25"]);
    }

    #[test]
    fn wide_numbers_leave_room_for_the_name_of_their_axis() {
        for most in [1.0, 3e5, 4e8] {
            let chart = Chart::new("Residuals", "true", "predicted");
            let svg = chart.with(Series::line("", [(0.0, -most / 3.0), (1.0, most)])).svg();
            let ends = svg.split("<text x=\"").filter(|text| text.contains("text-anchor=\"end\""));
            let starts: Vec<f64> = ends
                .map(|text| {
                    let x: f64 = text.split('"').next().unwrap().parse().unwrap();
                    let number = text.split('>').nth(1).unwrap().split('<').next().unwrap();
                    x - LETTER * number.chars().count() as f64
                })
                .collect();
            assert!(starts.len() > 2 && starts.iter().all(|start| *start >= 20.0), "{most}: {starts:?}");
        }
    }

    #[test]
    fn names_and_ticks_stand_beside_each_other() {
        let mut chart = Chart::new("Loss", "rows", "loss");
        for run in 0..12 {
            chart = chart.with(Series::line(
                &format!("a long name of run {run}"),
                [(0.0, 1.0), (2e6, f64::from(run))],
            ));
        }
        let (legend, lines) = chart.legend(LEFT);
        let places: Vec<(f64, f64)> = legend.into_iter().flatten().collect();
        assert!(places.len() == 12 && lines > 50.0, "{places:?}");
        assert!(places.iter().all(|(x, _)| x + 34.0 + 20.0 * LETTER < WIDTH + LETTER), "{places:?}");
        assert!(
            places.windows(2).all(|pair| pair[0].1 < pair[1].1 || pair[0].0 + 100.0 < pair[1].0),
            "{places:?}"
        );
        let svg = chart.svg();
        assert!(svg.contains("<title>a long name of run 11: rows 2,000,000, loss 11</title>"), "{svg}");
        let ticks: Vec<f64> = svg
            .split("text-anchor=\"middle\">")
            .filter_map(|part| part.rsplit_once("x=\"")?.1.split('"').next()?.parse().ok())
            .collect();
        assert!(ticks.len() > 2, "{ticks:?}");
    }

    #[test]
    fn prices_read_as_prices() {
        let read =
            [208_500.4, -1_234_567.0, 9_999.5, 123.456, 0.1234567, 0.0, 1e-7, 10_000.0, f64::NAN].map(figure);
        let expected =
            ["208,500", "-1,234,567", "9999.50", "123.46", "0.1235", "0.0000", "1.0000e-7", "10,000", "NaN"];
        assert_eq!(read, expected);
    }

    #[test]
    fn a_chart_of_nothing_or_of_one_point_is_still_a_chart() {
        for points in [vec![], vec![(1.0, 2.0)], vec![(1.0, f64::NAN)], vec![(1.0, 2.0), (1.0, 2.0)]] {
            let svg = Chart::new("a < b", "x", "y").with(Series::line("s", points)).file();
            assert!(svg.contains("a &lt; b") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }
}
