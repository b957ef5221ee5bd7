//! What a chart is made of, whatever it is drawn with; and how that is written as SVG.

use std::fmt::Write;

/// A picture of shapes, from the first to the one on top.
pub(super) struct Drawing {
    pub title: String,
    pub width: f64,
    pub height: f64,
    pub shapes: Vec<ChartShape>,
}

/// A shape; colours are numbers of series.
pub(super) enum ChartShape {
    Text {
        at: (f64, f64),
        text: String,
        style: TextStyle,
        anchor: TextAnchor,
    },
    Path {
        points: Vec<(f64, f64)>,
        stroke: PathStroke,
    },
    Dot {
        at: (f64, f64),
        radius: f64,
        colour: usize,
        style: DotStyle,
        title: Option<String>,
    },
    Bar {
        corner: (f64, f64),
        size: (f64, f64),
        colour: usize,
        title: String,
    },
    /// What a path around it holds.
    Area {
        points: Vec<(f64, f64)>,
        colour: usize,
    },
}

/// How a text looks.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum TextStyle {
    Title,
    Plain,
    Small,
    /// From the bottom to the top.
    Turned,
}

/// Which part of a text stands at its place.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum TextAnchor {
    Start,
    Middle,
    End,
}

/// How a path looks.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum PathStroke {
    Axis,
    /// Dashed, for comparison.
    Guide,
    Series(usize),
    /// Beside a series' name.
    Key(usize),
}

/// How a dot looks.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum DotStyle {
    Solid,
    Pale,
    /// Seen only where it is pointed at.
    Hover,
}

impl ChartShape {
    pub(super) fn text(at: (f64, f64), text: &str, style: TextStyle, anchor: TextAnchor) -> ChartShape {
        ChartShape::Text { at, text: text.to_string(), style, anchor }
    }

    pub(super) fn path(points: impl IntoIterator<Item = (f64, f64)>, stroke: PathStroke) -> ChartShape {
        ChartShape::Path { points: points.into_iter().collect(), stroke }
    }
}

/// A drawing as SVG, with what else stands inside before it.
pub(super) fn svg(drawing: &Drawing, inside: &str) -> String {
    let Drawing { title, width, height, shapes } = drawing;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">{inside}",
        escape(title)
    );
    for shape in shapes {
        // Writing to a string can't fail.
        let _ = write_shape(&mut svg, shape);
    }
    svg + "</svg>"
}

fn write_shape(svg: &mut String, shape: &ChartShape) -> std::fmt::Result {
    match shape {
        ChartShape::Text { at: (x, y), text, style, anchor } => {
            let class = match style {
                TextStyle::Title => " class=\"title\"",
                TextStyle::Small => " class=\"n\"",
                TextStyle::Plain | TextStyle::Turned => "",
            };
            let anchor = match anchor {
                TextAnchor::Start => "",
                TextAnchor::Middle => " text-anchor=\"middle\"",
                TextAnchor::End => " text-anchor=\"end\"",
            };
            let text = escape(text);
            match style {
                TextStyle::Turned => {
                    write!(
                        svg,
                        "<text transform=\"translate({x:.1} {y:.1}) rotate(-90)\"{anchor}>{text}</text>"
                    )
                }
                _ => write!(svg, "<text{class} x=\"{x:.1}\" y=\"{y:.1}\"{anchor}>{text}</text>"),
            }
        }
        ChartShape::Path { points, stroke } => {
            let (class, style) = match stroke {
                PathStroke::Axis => (" class=\"axis\"", String::new()),
                PathStroke::Guide => (" class=\"guide\"", String::new()),
                PathStroke::Series(colour) => (" class=\"l\"", format!(" style=\"stroke:var(--c{colour})\"")),
                PathStroke::Key(colour) => ("", format!(" style=\"stroke:var(--c{colour});stroke-width:3\"")),
            };
            write!(svg, "<path{class}{style} d=\"")?;
            write_points(svg, points)?;
            svg.write_str("\"/>")
        }
        ChartShape::Area { points, colour } => {
            write!(svg, "<path class=\"a\" style=\"fill:var(--c{colour})\" d=\"")?;
            write_points(svg, points)?;
            svg.write_str("Z\"/>")
        }
        ChartShape::Dot { at: (x, y), radius, colour, style, title } => {
            let class = match style {
                DotStyle::Solid => "",
                DotStyle::Pale => " class=\"p\"",
                DotStyle::Hover => " class=\"h\"",
            };
            write!(
                svg,
                "<circle{class} cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" style=\"fill:var(--c{colour})\""
            )?;
            match title {
                Some(title) => write!(svg, "><title>{}</title></circle>", escape(title)),
                None => svg.write_str("/>"),
            }
        }
        ChartShape::Bar { corner: (x, y), size: (width, height), colour, title } => write!(
            svg,
            "<rect class=\"b\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
             style=\"fill:var(--c{colour})\"><title>{}</title></rect>",
            escape(title)
        ),
    }
}

fn write_points(svg: &mut String, points: &[(f64, f64)]) -> std::fmt::Result {
    for (at, (x, y)) in points.iter().enumerate() {
        write!(svg, "{}{x:.1} {y:.1}", if at == 0 { 'M' } else { 'L' })?;
    }
    Ok(())
}

/// Text within HTML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
