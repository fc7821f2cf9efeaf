//! A small picture of text, bars and lines, readable on light and on dark pages.

use std::fmt::Write as _;

/// Colours by what they are for. A page in dark mode shows the picture so, too.
const STYLE: &str = "\
text { font: 12px system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #1f2328 }
.title { font-size: 17px; font-weight: 600 }
.heading { font-weight: 600 }
.faint { font-size: 11px; fill: #59636e }
.page { fill: #ffffff }
.ringway { fill: #0b7f79 }
.peer { fill: #b4bec9 }
.range { stroke: #1f2328; stroke-width: 1.5; stroke-opacity: .55 }
.one { stroke: #59636e; stroke-width: 1; stroke-dasharray: 3 2 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.faint { fill: #9198a1 }
.page { fill: #0d1117 }
.ringway { fill: #2fb5ab }
.peer { fill: #4d5763 }
.range { stroke: #e6edf3 }
.one { stroke: #9198a1 }
}
";

/// What has been drawn. Coordinates are in pixels, from the top left.
pub(super) struct Canvas {
    width: f64,
    elements: String,
}

/// Which end of a text is at its x.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    End,
}

impl Canvas {
    pub(super) fn new(width: f64) -> Self {
        Canvas { width, elements: String::new() }
    }

    /// One line of text on the baseline `y`.
    pub(super) fn text(&mut self, x: f64, y: f64, anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::End => "end",
        };
        let text = escaped(text);
        self.add(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\">{text}</text>"
        ));
    }

    pub(super) fn bar(&mut self, x: f64, y: f64, width: f64, height: f64, class: &str) {
        self.add(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"2\" class=\"{class}\"/>"
        ));
    }

    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.add(format_args!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" class=\"{class}\"/>"
        ));
    }

    /// The file. `description` is for those who cannot see the picture.
    pub(super) fn finish(self, height: f64, description: &str) -> String {
        let Canvas { width, elements } = self;
        let description = escaped(description);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
             height=\"{height:.0}\" role=\"img\">\n<title>{description}</title>\n<style>\n{STYLE}</style>\n\
             <rect width=\"100%\" height=\"100%\" rx=\"6\" class=\"page\"/>\n{elements}</svg>\n"
        )
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        writeln!(self.elements, "{element}").expect("a string takes what is written");
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
