//! Pictures as people have them (PNG, JPEG, BMP) to the rows a model takes: one size, grey or in colour, channel by channel.

use std::io::{BufRead, Cursor, Seek};
use std::path::Path;

use image::codecs::png::PngEncoder;
use image::imageops::FilterType;
use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageReader, Limits};

use super::size::ImageSize;
use crate::error::{Error, Result};

/// Extensions of files that are pictures.
pub const PICTURES: [&str; 4] = ["png", "jpg", "jpeg", "bmp"];

/// No picture has more pixels on a side, so that a damaged header asks for no impossible amount of memory.
const LONGEST: u32 = 20_000;

/// No file has more pixels in a byte: the most are in a PNG file of one colour, which holds 8 in a byte, packed to a thousandth.
const DENSEST: u64 = 10_000;

/// A picture that was read.
#[derive(Clone, Debug)]
pub struct Picture(DynamicImage);

impl Picture {
    /// A black grey picture.
    pub fn blank(height: usize, width: usize) -> Picture {
        Picture(DynamicImage::new_luma8(width as u32, height as u32))
    }

    /// Sets the brightness of a pixel; one beside the picture is left alone.
    pub fn put(&mut self, row: usize, column: usize, brightness: u8) {
        let (row, column) = (row as u32, column as u32);
        if row < self.0.height() && column < self.0.width() {
            let grey = image::Rgba([brightness, brightness, brightness, 255]);
            image::GenericImage::put_pixel(&mut self.0, column, row, grey);
        }
    }

    /// As a PNG file.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn png(&self) -> Result<Vec<u8>> {
        let (height, width, colour) = self.size();
        let size = ImageSize { channels: if colour { 3 } else { 1 }, height, width };
        encode_png(&self.pixels(size), size)
    }

    /// Reads a file, of the type its content shows.
    ///
    /// # Errors
    /// Where there is none, or it is no picture or a damaged one.
    pub fn open(path: impl AsRef<Path>) -> Result<Picture> {
        Picture::open_at(path.as_ref())
    }

    fn open_at(path: &Path) -> Result<Picture> {
        let reader = ImageReader::open(path).map_err(|error| Error::io(path, error))?;
        let bytes = std::fs::metadata(path).map_err(|error| Error::io(path, error))?.len();
        Picture::decode(reader, bytes).map_err(|error| error.in_file(path))
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
        Picture::decode(ImageReader::new(Cursor::new(bytes)), bytes.len() as u64)
    }

    fn decode<R: BufRead + Seek>(reader: ImageReader<R>, bytes: u64) -> Result<Picture> {
        let mut reader = reader.with_guessed_format().map_err(|error| Error::new(error.to_string()))?;
        let mut limits = Limits::default();
        (limits.max_image_width, limits.max_image_height) = (Some(LONGEST), Some(LONGEST));
        reader.limits(limits.clone());
        let broken = |error| Error::new(format!("the picture can't be read: {error}"));
        let decoder = reader.into_decoder().map_err(broken)?;
        limits.reserve(decoder.total_bytes()).map_err(broken)?;
        let (width, height) = decoder.dimensions();
        if u64::from(width) * u64::from(height) > DENSEST.saturating_mul(bytes) {
            return Err(Error::new(format!(
                "the picture says that it is {width} × {height}, which {bytes} bytes can't hold; it is damaged"
            )));
        }
        DynamicImage::from_decoder(decoder).map(Picture).map_err(broken)
    }

    /// Pixels from top to bottom and from left to right, and whether it has colours.
    pub fn size(&self) -> (usize, usize, bool) {
        (self.0.height() as usize, self.0.width() as usize, self.0.color().has_color())
    }

    /// As bytes `[channels, height, width]`: resized where it has another size, grey where one channel is wanted. What is transparent
    /// is white.
    pub fn pixels(&self, size: ImageSize) -> Vec<u8> {
        bytes(self.opaque(), size)
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
        let (height, width) = (f64::from(self.0.height()), f64::from(self.0.width()));
        let least = f64::max(size.height as f64 / height, size.width as f64 / width);
        let scale = f64::max(least, shorter as f64 / height.min(width));
        let tall = ((height * scale).floor() as usize).max(size.height);
        let wide = ((width * scale).floor() as usize).max(size.width);
        let image = resized(self.opaque(), tall, wide);
        let (left, top) = ((wide - size.width).div_ceil(2), (tall - size.height).div_ceil(2));
        let cut = image.crop_imm(left as u32, top as u32, size.width as u32, size.height as u32);
        bytes(cut, size)
    }

    /// Over a white ground.
    fn opaque(&self) -> DynamicImage {
        let mut image = self.0.to_rgba8();
        for pixel in image.pixels_mut() {
            let [red, green, blue, alpha] = pixel.0;
            let over = |colour: u8| {
                ((u32::from(colour) * u32::from(alpha) + 255 * (255 - u32::from(alpha))) / 255) as u8
            };
            pixel.0 = [over(red), over(green), over(blue), 255];
        }
        DynamicImage::ImageRgba8(image)
    }
}

fn resized(image: DynamicImage, height: usize, width: usize) -> DynamicImage {
    let (height, width) = (height as u32, width as u32);
    match (image.height(), image.width()) == (height, width) {
        true => image,
        false => image.resize_exact(width, height, FilterType::Triangle),
    }
}

fn bytes(image: DynamicImage, size: ImageSize) -> Vec<u8> {
    let image = resized(image, size.height, size.width);
    match size.channels {
        1 => image.to_luma8().into_raw(),
        _ => {
            let bytes = image.to_rgb8().into_raw();
            (0..3).flat_map(|channel| bytes.iter().skip(channel).step_by(3).copied()).collect()
        }
    }
}

/// An image `[channels, height, width]` as a PNG file.
///
/// # Errors
/// Where there aren't as many pixels as its size says.
pub fn encode_png(pixels: &[u8], size: ImageSize) -> Result<Vec<u8>> {
    let ImageSize { channels, height, width } = size;
    let plane = height * width;
    let interleaved: Vec<u8> = (0..plane)
        .flat_map(|at| (0..channels).map(move |channel| channel * plane + at))
        .filter_map(|at| pixels.get(at).copied())
        .collect();
    let colour = if channels == 1 { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
    if pixels.len() != channels * plane {
        return Err(Error::new(format!(
            "{} pixels for an image of {channels} × {height} × {width}",
            pixels.len()
        )));
    }
    let mut file = Vec::new();
    PngEncoder::new(&mut file)
        .write_image(&interleaved, width as u32, height as u32, colour)
        .map_err(|error| Error::new(format!("the image can't be written: {error}")))?;
    Ok(file)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use image::codecs::png::CompressionType;
    use image::{Rgba, RgbaImage};

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
        for name in ["a.png", "a.bmp", "a.jpg"] {
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
        let whole = std::fs::read(folder.join("a.png")).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(folder.join("c.png"), &whole[..cut]).unwrap();
            // Some cuts leave all pixels; none may panic.
            let _ = Picture::open(folder.join("c.png"));
        }
        std::fs::remove_dir_all(folder).unwrap();
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
