//! What there is to say of series before anything is foreseen.

use std::collections::BTreeMap;
use std::fmt;

use kiln_map::counted;
use serde::Serialize;

use super::baseline::is_intermittent;
use super::parallel::each_series;
use super::seasons::seasons;
use super::series::{SeriesFindings, SeriesSet};

/// Series in figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SeriesSummary {
    /// How often each has a value, in words.
    pub frequency: String,
    /// The share of times that suit it.
    pub suits: f64,
    /// What a step is called.
    pub step: &'static str,
    /// How many series there are.
    pub series: usize,
    /// How many steps the shortest has, the one in the middle, the longest.
    pub lengths: [usize; 3],
    /// The first time of any, and the last, as text.
    pub from: String,
    /// The last time of any with a value.
    pub to: String,
    /// What the rule for gaps and duplicates did.
    pub findings: SeriesFindings,
    /// Which seasons are there, those of most series first.
    pub seasons: Vec<SeasonOfSeries>,
    /// How many are demand that comes now and then.
    pub intermittent: usize,
}

/// A season of some of the series.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SeasonOfSeries {
    /// How many steps it takes.
    pub period: usize,
    /// How many series have it.
    pub series: usize,
    /// The mean strength in those.
    pub strength: f64,
}

/// How many series are looked at for their seasons, spread over all.
const LOOKED_AT: usize = 1000;

impl SeriesSummary {
    /// Of these series.
    pub fn of(set: &SeriesSet) -> SeriesSummary {
        let mut lengths: Vec<usize> = set.series.iter().map(|series| series.values.len()).collect();
        lengths.sort_unstable();
        let length = |at: usize| lengths.get(at).copied().unwrap_or(0);
        let last = lengths.len().saturating_sub(1);
        let frequency = set.frequency;
        let first = set.series.iter().map(|series| series.first).min().unwrap_or(0);
        let end = set.series.iter().map(|series| series.end()).max().unwrap_or(1);
        let text = |number: i64| frequency.text(frequency.begin(number));
        SeriesSummary {
            frequency: frequency.to_string(),
            suits: set.suits,
            step: frequency.noun(),
            series: set.series.len(),
            lengths: [length(0), length(last / 2), length(last)],
            from: text(first),
            to: text(end - 1),
            findings: set.findings,
            seasons: found(set),
            intermittent: set.series.iter().filter(|series| is_intermittent(&series.values)).count(),
        }
    }
}

/// The seasons of series, those of most of them first.
fn found(set: &SeriesSet) -> Vec<SeasonOfSeries> {
    let apart = set.series.len().div_ceil(LOOKED_AT).max(1);
    let looked_at = set.series.len().div_ceil(apart);
    let each = each_series(looked_at, |at| seasons(&set.series[at * apart].values, set.frequency));
    let mut by_period: BTreeMap<usize, (usize, f64)> = BTreeMap::new();
    for season in each.into_iter().flatten() {
        let own = by_period.entry(season.period).or_default();
        *own = (own.0 + 1, own.1 + season.strength);
    }
    let one = |(period, (series, strength)): (usize, (usize, f64))| SeasonOfSeries {
        period,
        series: series * apart.min(set.series.len()),
        strength: strength / series as f64,
    };
    let mut seasons: Vec<SeasonOfSeries> = by_period.into_iter().map(one).collect();
    seasons.iter_mut().for_each(|season| season.series = season.series.min(set.series.len()));
    seasons.sort_by(|a, b| b.series.cmp(&a.series).then(b.strength.total_cmp(&a.strength)));
    seasons
}

impl fmt::Display for SeriesSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = &self.findings;
        write!(f, "frequency   {}, {} to {}", self.frequency, self.from, self.to)?;
        if self.suits < 1.0 {
            write!(f, "; {:.1} % of times suit it", 100.0 * self.suits)?;
        }
        let [least, middle, most] = self.lengths;
        match self.series {
            1 => write!(f, "\nseries      1, {}", counted(most, "step"))?,
            count if least == most => write!(f, "\nseries      {count}, each {}", counted(most, "step"))?,
            count => write!(
                f,
                "\nseries      {count}, from {least} to {}, half of them above {middle}",
                counted(most, "step")
            )?,
        }
        if self.intermittent > 0 {
            write!(
                f,
                "\nnow and then {} of {}: more than 1.32 steps from one demand to the next",
                self.intermittent, self.series
            )?;
        }
        let gaps = match (found.gaps, self.series) {
            (0, _) => "none".to_string(),
            (gaps, 1) => counted(gaps, "step") + " without a value",
            (gaps, series) => format!(
                "{} without a value, in {} of {series} series",
                counted(gaps, "step"),
                found.with_gaps
            ),
        };
        write!(f, "\ngaps        {gaps}")?;
        let twice = match found.duplicates {
            0 => "none".to_string(),
            count => counted(count, "row") + " of a time that their series has already",
        };
        write!(f, "\nduplicates  {twice}")?;
        if found.without_time > 0 {
            write!(f, "\nno time     {}", counted(found.without_time, "row"))?;
        }
        if found.future > 0 {
            write!(
                f,
                "\nfuture      {} behind the last value of their series",
                counted(found.future, "row")
            )?;
        }
        let season = |season: &SeasonOfSeries| {
            let of = if self.series == 1 {
                String::new()
            } else {
                format!(" in {} of {}", season.series, self.series)
            };
            format!("{} (strength {:.2}){of}", counted(season.period, self.step), season.strength)
        };
        let seasons: Vec<String> = self.seasons.iter().map(season).collect();
        let seasons = if seasons.is_empty() { "none".to_string() } else { seasons.join(", ") };
        write!(f, "\nseasons     {seasons}")
    }
}

#[cfg(test)]
mod tests {
    use kiln_data::Table;

    use super::*;
    use crate::forecast::SeriesOptions;

    #[test]
    fn series_are_summed_up_in_words() {
        let mut text = "day,shop,sold\n".to_string();
        for day in 0..70 {
            let at = kiln_data::DateTime::of(1_704_067_200 + 86_400 * day);
            let date = format!("{:04}-{:02}-{:02}", at.year, at.month, at.day);
            if day != 30 {
                text += &format!("{date},a,{}\n", 10 + day % 7 * 5);
            }
            if day >= 40 {
                text += &format!("{date},b,{}\n", if day % 4 == 0 { day } else { 0 });
            }
        }
        text += "2024-03-10,b,3\n2024-03-11,b,\n";
        let table = Table::read(text.as_bytes()).unwrap();
        let set = SeriesSet::of(&table, "day", "sold", &SeriesOptions::new().keys(["shop"])).unwrap();
        let summary = SeriesSummary::of(&set);
        assert_eq!(
            summary.to_string(),
            "frequency   daily, 2024-01-01 to 2024-03-10\nseries      2, from 30 to 70 steps, half of them above 30\n\
             now and then 1 of 2: more than 1.32 steps from one demand to the next\n\
             gaps        1 step without a value, in 1 of 2 series\n\
             duplicates  1 row of a time that their series has already\n\
             future      1 row behind the last value of their series\n\
             seasons     7 days (strength 1.00) in 1 of 2"
        );
    }
}
