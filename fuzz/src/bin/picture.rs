//! Pictures of every kind that is read. One that is taken has as many pixels as are asked for, and comes back from the PNG file made of it.
#![no_main]

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, Rgba, RgbaImage};
use kiln_data::{ImageSize, Picture};
use kiln_fuzz::{file, fuzz_target, seeds};

fn all() -> [Vec<u8>; 10] {
    let picture = RgbaImage::from_fn(9, 7, |x, y| Rgba([20 * x as u8, 30 * y as u8, 7, 200]));
    let picture = DynamicImage::ImageRgba8(picture);
    let written = |picture: DynamicImage, format| {
        let mut file = Cursor::new(Vec::new());
        picture.write_to(&mut file, format).unwrap();
        file.into_inner()
    };
    [
        written(picture.clone(), ImageFormat::Png),
        written(picture.to_luma16().into(), ImageFormat::Png),
        written(picture.to_rgb8().into(), ImageFormat::Jpeg),
        written(picture.to_rgb8().into(), ImageFormat::Bmp),
        written(picture.clone(), ImageFormat::WebP),
        written(picture.clone(), ImageFormat::Gif),
        written(picture.clone(), ImageFormat::Tiff),
        written(picture.to_rgb8().into(), ImageFormat::Pnm),
        b"P1\n3 2\n101\n010\n".to_vec(),
        written(picture, ImageFormat::Ico),
    ]
}

fuzz_target!(init: seeds(all()), |bytes: &[u8]| {
    // The pixels that more bytes may have take too long here, where each edge is counted.
    if bytes.len() > 1000 {
        return;
    }
    let Ok(picture) = Picture::open(file("input", bytes)) else { return };
    assert_eq!(picture.pixels(ImageSize { channels: 3, height: 4, width: 5 }).len(), 60);
    let (height, width, colour) = picture.size();
    if height * width < 1 << 16 {
        let size = ImageSize { channels: if colour { 3 } else { 1 }, height, width };
        let again = Picture::open(file("again.png", &picture.png().unwrap())).unwrap();
        assert_eq!(again.pixels(size), picture.pixels(size));
    }
});
