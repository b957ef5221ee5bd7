//! Pictures as people have them (PNG, JPEG, BMP, WebP, GIF, TIFF, PNM, ICO) to the rows a model takes: one size, grey or in colour, channel by channel.

mod bmp;
mod decode;
mod gif;
mod ico;
mod orientation;
mod pnm;
mod resize;
mod samples;
mod tiff;
mod webp;

use std::path::Path;

use super::size::ImageSize;
use crate::error::{Error, Result};
use decode::decode;
use resize::resize;
pub(super) use samples::LARGEST;

/// Extensions of files that are pictures.
pub const PICTURES: [&str; 14] =
    ["png", "jpg", "jpeg", "bmp", "webp", "gif", "tif", "tiff", "pnm", "pbm", "pgm", "ppm", "pam", "ico"];

/// A picture that was read, over a white ground where it is transparent.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    height: usize,
    width: usize,
    /// 1 if it is grey, else 3.
    channels: usize,
    /// `[height, width, channels]`.
    bytes: Vec<u8>,
}

impl Picture {
    /// A black grey picture.
    pub fn blank(height: usize, width: usize) -> Picture {
        Picture { height, width, channels: 1, bytes: vec![0; height * width] }
    }

    /// Sets the brightness of a pixel; one beside the picture is left alone.
    pub fn put(&mut self, row: usize, column: usize, brightness: u8) {
        if row < self.height && column < self.width {
            let at = (row * self.width + column) * self.channels;
            self.bytes[at..at + self.channels].fill(brightness);
        }
    }

    /// As a PNG file.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn png(&self) -> Result<Vec<u8>> {
        interleaved_png(&self.bytes, self.channels, self.height, self.width)
    }

    /// Reads a file, of the type its content shows.
    ///
    /// # Errors
    /// Where there is none, or it is no picture or a damaged one.
    pub fn open(path: impl AsRef<Path>) -> Result<Picture> {
        Picture::open_at(path.as_ref())
    }

    fn open_at(path: &Path) -> Result<Picture> {
        Picture::read(&contents(path)?).map_err(|error| error.in_file(path))
    }

    /// Height, width and whether it has colours, of the content of a file whose pixels aren't read.
    pub(super) fn size_in(bytes: &[u8]) -> Result<(usize, usize, bool)> {
        decode::size(bytes)
    }

    /// Reads the content of a file.
    ///
    /// ```
    /// use kiln_data::Picture;
    ///
    /// let file = Picture::blank(4, 8).png()?;
    /// assert_eq!(Picture::read(&file)?.size(), (4, 8, false));
    /// assert!(Picture::read(b"no picture").is_err());
    /// # Ok::<(), kiln_data::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Picture::open`].
    pub fn read(bytes: &[u8]) -> Result<Picture> {
        decode(bytes)
    }

    /// Pixels from top to bottom and from left to right, and whether it has colours.
    pub fn size(&self) -> (usize, usize, bool) {
        (self.height, self.width, self.channels == 3)
    }

    /// As bytes `[channels, height, width]`: resized where it has another size, grey where one channel is wanted. What is transparent
    /// is white.
    pub fn pixels(&self, size: ImageSize) -> Vec<u8> {
        match (self.height, self.width) == (size.height, size.width) {
            true => self.planes(size.channels),
            false => resize(self, size.height, size.width).planes(size.channels),
        }
    }

    /// As [`Picture::pixels`], in its own proportions: the shorter side is brought to so many pixels (more where that wouldn't fill the
    /// size), and the middle is cut out.
    ///
    /// ```
    /// use kiln_data::{ImageSize, Picture};
    ///
    /// let mut picture = Picture::blank(4, 8);
    /// picture.put(0, 2, 255);
    /// // Of the columns 2 to 5.
    /// let middle = picture.middle(ImageSize { channels: 1, height: 4, width: 4 }, 4);
    /// assert_eq!((middle.len(), middle[0], middle[1]), (16, 255, 0));
    /// ```
    pub fn middle(&self, size: ImageSize, shorter: usize) -> Vec<u8> {
        let (height, width) = (self.height as f64, self.width as f64);
        let least = f64::max(size.height as f64 / height, size.width as f64 / width);
        let scale = f64::max(least, shorter as f64 / height.min(width));
        let tall = ((height * scale).floor() as usize).max(size.height);
        let wide = ((width * scale).floor() as usize).max(size.width);
        let (left, top) = ((wide - size.width).div_ceil(2), (tall - size.height).div_ceil(2));
        let cut = match (self.height, self.width) == (tall, wide) {
            true => self.cut(top, left, size),
            false => resize(self, tall, wide).cut(top, left, size),
        };
        cut.planes(size.channels)
    }

    fn cut(&self, top: usize, left: usize, size: ImageSize) -> Picture {
        let row = |row| {
            let at = (row * self.width + left) * self.channels;
            &self.bytes[at..at + size.width * self.channels]
        };
        let bytes = (top..top + size.height).flat_map(row).copied().collect();
        Picture { height: size.height, width: size.width, channels: self.channels, bytes }
    }

    /// `[channels, height, width]`.
    fn planes(&self, channels: usize) -> Vec<u8> {
        match (self.channels, channels) {
            (1, channels) => self.bytes.repeat(channels),
            (_, 1) => self.bytes.chunks_exact(3).map(luma).collect(),
            _ => (0..3).flat_map(|channel| self.bytes.iter().skip(channel).step_by(3).copied()).collect(),
        }
    }
}

/// The bytes of a file that may be a picture.
pub(super) fn contents(path: &Path) -> Result<Vec<u8>> {
    let bytes = std::fs::metadata(path).map_err(|error| Error::io(path, error))?.len();
    if bytes > LARGEST {
        let most = LARGEST >> 20;
        let message = format!("{bytes} bytes are no picture; one has at most {most} MB");
        return Err(Error::new(message).in_file(path));
    }
    std::fs::read(path).map_err(|error| Error::io(path, error))
}

/// Brightness after ITU-R BT.709, with a white of 6504 K.
fn luma(colours: &[u8]) -> u8 {
    let weighted = |(&colour, weight): (&u8, f32)| f32::from(colour) * (1.0 / 255.0) * weight;
    let sum: f32 = colours.iter().zip([0.21264784, 0.7151792, 0.07217304]).map(weighted).sum();
    (sum * 255.0).round() as u8
}

/// An image `[channels, height, width]` as a PNG file.
///
/// # Errors
/// Where there aren't as many pixels as its size says.
pub fn encode_png(pixels: &[u8], size: ImageSize) -> Result<Vec<u8>> {
    let ImageSize { channels, height, width } = size;
    let plane = height * width;
    if pixels.len() != channels * plane {
        return Err(Error::new(format!(
            "{} pixels for an image of {channels} × {height} × {width}",
            pixels.len()
        )));
    }
    let interleaved: Vec<u8> =
        (0..plane).flat_map(|at| (0..channels).map(move |channel| pixels[channel * plane + at])).collect();
    interleaved_png(&interleaved, channels, height, width)
}

/// An image `[height, width, channels]` as a PNG file.
fn interleaved_png(pixels: &[u8], channels: usize, height: usize, width: usize) -> Result<Vec<u8>> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width as u32, height as u32);
    encoder.set_color(if channels == 1 { png::ColorType::Grayscale } else { png::ColorType::Rgb });
    encoder.set_compression(png::Compression::Fast);
    encoder.set_filter(png::Filter::Adaptive);
    encoder
        .write_header()
        .and_then(|mut writer| writer.write_image_data(pixels))
        .map_err(|error| Error::new(format!("the image can't be written: {error}")))?;
    Ok(file)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use image::codecs::png::{CompressionType, PngEncoder};
    use image::{DynamicImage, ExtendedColorType, ImageEncoder, Rgba, RgbaImage};

    /// A picture with a red and a half transparent half, written in a format.
    pub(crate) fn write(path: &Path, width: u32, height: u32) {
        let picture = RgbaImage::from_fn(width, height, |x, _| match x < width / 2 {
            true => Rgba([200, 0, 0, 255]),
            false => Rgba([0, 0, 0, 0]),
        });
        match path.extension().is_some_and(|extension| extension == "jpg") {
            true => DynamicImage::ImageRgba8(picture).to_rgb8().save(path).unwrap(),
            false => picture.save(path).unwrap(),
        }
    }

    #[test]
    fn pictures_of_every_kind_are_read_resized_and_turned_grey() {
        let folder = std::env::temp_dir().join(format!("kiln-picture-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for name in ["a.png", "a.bmp", "a.jpg", "a.webp", "a.gif", "a.tiff", "a.ico"] {
            let path = folder.join(name);
            write(&path, 16, 8);
            let picture = Picture::open(&path).unwrap();
            assert_eq!(picture.size().0, 8, "{name}");
            let colour = picture.pixels(ImageSize { channels: 3, height: 8, width: 16 });
            assert_eq!(colour.len(), 3 * 8 * 16);
            assert!(colour[0].abs_diff(200) < 6 && colour[128] < 6, "{name}: red");
            if name == "a.png" {
                assert_eq!(colour[15], 255, "what is transparent is white");
            }
            let grey = picture.pixels(ImageSize { channels: 1, height: 4, width: 4 });
            assert_eq!(grey.len(), 16);
        }
        std::fs::write(folder.join("b.png"), b"no picture").unwrap();
        let error = Picture::open(folder.join("b.png")).unwrap_err().to_string();
        assert!(error.contains("b.png"), "{error}");
        let error = Picture::read(b"\xff\xd8\xffno picture").unwrap_err().to_string();
        assert!(error.contains("can't be read") && error.trim_end() == error, "{error:?}");
        let whole = std::fs::read(folder.join("a.png")).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(folder.join("c.png"), &whole[..cut]).unwrap();
            // Some cuts leave all pixels; none may panic.
            let _ = Picture::open(folder.join("c.png"));
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn grey_of_every_colour_is_what_the_crate_image_makes_of_it() {
        let bytes: Vec<u8> = (0..1 << 16)
            .flat_map(|at: u32| [at * 3 % 256, at % 256, at / 256].map(|byte| byte as u8))
            .collect();
        let image = image::RgbImage::from_raw(256, 256, bytes.clone()).unwrap();
        let picture = Picture { height: 256, width: 256, channels: 3, bytes };
        let theirs = DynamicImage::from(image).to_luma8().into_raw();
        assert!(picture.planes(1) == theirs);
    }

    #[test]
    fn a_header_that_says_more_pixels_than_the_file_can_hold_is_refused() {
        let folder = std::env::temp_dir().join(format!("kiln-dense-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("a.jpg");
        write(&path, 16, 8);
        let mut bytes = std::fs::read(&path).unwrap();
        let frame = bytes.windows(4).position(|part| part == [0xff, 0xc0, 0, 17]).unwrap();
        // Height and width: what is missing of a JPEG file would be grey.
        bytes[frame + 5..frame + 9].copy_from_slice(&[0x20, 0, 0x20, 0]);
        std::fs::write(&path, bytes).unwrap();
        let error = Picture::open(&path).unwrap_err().to_string();
        assert!(error.contains("8192 × 8192") && error.contains("a.jpg"), "{error}");
        // A large one of one colour is small.
        let path = folder.join("b.png");
        let file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
        PngEncoder::new_with_quality(file, CompressionType::Best, image::codecs::png::FilterType::NoFilter)
            .write_image(&vec![0; 4000 * 4000], 4000, 4000, ExtendedColorType::L8)
            .unwrap();
        assert_eq!(Picture::open(&path).unwrap().size(), (4000, 4000, false));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_written_png_reads_back() {
        for channels in [1, 3] {
            let size = ImageSize { channels, height: 4, width: 6 };
            let pixels: Vec<u8> = (0..channels * 24).map(|at| (at * 3) as u8).collect();
            let path = std::env::temp_dir().join(format!("kiln-png-{channels}-{}.png", std::process::id()));
            std::fs::write(&path, encode_png(&pixels, size).unwrap()).unwrap();
            assert_eq!(Picture::open(&path).unwrap().pixels(size), pixels);
            std::fs::remove_file(path).unwrap();
            assert!(encode_png(&pixels[1..], size).is_err());
        }
    }
}
