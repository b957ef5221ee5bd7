//! The pages of a Parquet file, unpacked here, so that none is larger than it may be and each way to pack them is one that kiln has: the
//! crate `parquet` is told that they aren't packed.

use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use kiln_map::{Budget, Limits};
use parquet::basic::Compression;
use parquet::bloom_filter::Sbbf;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, FileReader, Length, RowGroupReader, SerializedPageReader};
use parquet::record::reader::RowIter;
use parquet::schema::types::Type as SchemaType;

use crate::archive::WholeFile;

/// A file's bytes, as the crate reads them.
#[derive(Clone)]
pub(super) struct ParquetBytes(Bytes);

impl ParquetBytes {
    pub fn of(whole: WholeFile) -> ParquetBytes {
        ParquetBytes(Bytes::from_owner(whole))
    }
}

impl Length for ParquetBytes {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }
}

fn beyond() -> ParquetError {
    ParquetError::EOF("it points behind its end".to_string())
}

impl ChunkReader for ParquetBytes {
    type T = std::io::Cursor<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        let start = usize::try_from(start).ok().filter(|start| *start <= self.0.len()).ok_or_else(beyond)?;
        Ok(std::io::Cursor::new(self.0.slice(start..)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let start = usize::try_from(start).map_err(|_| beyond())?;
        let end = start.checked_add(length).filter(|end| *end <= self.0.len()).ok_or_else(beyond)?;
        Ok(self.0.slice(start..end))
    }
}

/// A file and what it says of its columns.
pub(super) struct ParquetFile {
    bytes: Arc<ParquetBytes>,
    metadata: ParquetMetaData,
    /// Each group of rows, with its chunks told to be plain, and how they are packed.
    groups: Vec<(RowGroupMetaData, Vec<Compression>)>,
}

impl ParquetFile {
    pub fn new(bytes: ParquetBytes, metadata: ParquetMetaData) -> Result<ParquetFile> {
        let damaged = |what: &str| ParquetError::General(what.to_string());
        let mut groups = Vec::with_capacity(metadata.num_row_groups());
        for group in metadata.row_groups() {
            if group.num_columns() != metadata.file_metadata().schema_descr().num_columns() {
                return Err(damaged("a group of rows has other columns than the file"));
            }
            let (mut plain, mut packings) = (Vec::new(), Vec::new());
            for chunk in group.columns() {
                let start = chunk.dictionary_page_offset().unwrap_or_else(|| chunk.data_page_offset());
                if start < 0 || chunk.data_page_offset() < 0 || chunk.compressed_size() < 0 {
                    return Err(damaged("a column lies before its beginning"));
                }
                packings.push(chunk.compression());
                let unpacked = Compression::UNCOMPRESSED;
                plain.push(chunk.clone().into_builder().set_compression(unpacked).build()?);
            }
            let group = group.clone().into_builder().set_column_metadata(plain).build()?;
            groups.push((group, packings));
        }
        Ok(ParquetFile { bytes: Arc::new(bytes), metadata, groups })
    }
}

impl FileReader for ParquetFile {
    fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }

    fn num_row_groups(&self) -> usize {
        self.groups.len()
    }

    fn get_row_group(&self, at: usize) -> Result<Box<dyn RowGroupReader + '_>> {
        let (metadata, packings) = self.groups.get(at).ok_or_else(beyond)?;
        Ok(Box::new(RowGroup { bytes: self.bytes.clone(), metadata, packings }))
    }

    fn get_row_iter(&self, projection: Option<SchemaType>) -> Result<RowIter<'_>> {
        RowIter::from_file(projection, self)
    }
}

struct RowGroup<'a> {
    bytes: Arc<ParquetBytes>,
    metadata: &'a RowGroupMetaData,
    packings: &'a [Compression],
}

impl RowGroupReader for RowGroup<'_> {
    fn metadata(&self) -> &RowGroupMetaData {
        self.metadata
    }

    fn num_columns(&self) -> usize {
        self.metadata.num_columns()
    }

    fn get_column_page_reader(&self, at: usize) -> Result<Box<dyn PageReader>> {
        let chunk: &ColumnChunkMetaData = self.metadata.columns().get(at).ok_or_else(beyond)?;
        let packing = self.packings.get(at).copied().unwrap_or(Compression::UNCOMPRESSED);
        let rows = usize::try_from(self.metadata.num_rows()).map_err(|_| beyond())?;
        let inner = SerializedPageReader::new(self.bytes.clone(), chunk, rows, None)?;
        // A page of each column is held at a time, and its dictionary.
        let most = Limits::current().bytes / (4 * self.num_columns().max(1) as u64);
        Ok(Box::new(PackedPages { inner, packing, most: most.max(1 << 20) }))
    }

    fn get_column_bloom_filter(&self, _at: usize) -> Option<&Sbbf> {
        None
    }

    fn get_row_iter(&self, projection: Option<SchemaType>) -> Result<RowIter<'_>> {
        RowIter::from_row_group(projection, self)
    }
}

/// Pages that are unpacked as they come.
struct PackedPages {
    inner: SerializedPageReader<ParquetBytes>,
    packing: Compression,
    /// How large a page may be.
    most: u64,
}

impl PackedPages {
    fn unpacked(&self, page: Page) -> Result<Page> {
        Ok(match page {
            Page::DataPage {
                buf,
                num_values,
                encoding,
                def_level_encoding,
                rep_level_encoding,
                statistics,
            } => {
                let buf = unpack(buf, self.packing, self.most)?;
                Page::DataPage {
                    buf,
                    num_values,
                    encoding,
                    def_level_encoding,
                    rep_level_encoding,
                    statistics,
                }
            }
            Page::DataPageV2 {
                buf,
                num_values,
                encoding,
                num_nulls,
                num_rows,
                def_levels_byte_len,
                rep_levels_byte_len,
                is_compressed,
                statistics,
            } => {
                // Levels stand plain before what is packed.
                let levels = def_levels_byte_len as usize + rep_levels_byte_len as usize;
                let buf = match is_compressed && levels < buf.len() {
                    true => {
                        let values = unpack(buf.slice(levels..), self.packing, self.most)?;
                        Bytes::from([&buf[..levels], &values].concat())
                    }
                    false => buf,
                };
                Page::DataPageV2 {
                    buf,
                    num_values,
                    encoding,
                    num_nulls,
                    num_rows,
                    def_levels_byte_len,
                    rep_levels_byte_len,
                    is_compressed: false,
                    statistics,
                }
            }
            Page::DictionaryPage { buf, num_values, encoding, is_sorted } => {
                let buf = unpack(buf, self.packing, self.most)?;
                Page::DictionaryPage { buf, num_values, encoding, is_sorted }
            }
        })
    }
}

impl Iterator for PackedPages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Result<Page>> {
        self.get_next_page().transpose()
    }
}

impl PageReader for PackedPages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.inner.get_next_page()?;
        page.map(|page| self.unpacked(page)).transpose()
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.inner.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.inner.skip_next_page()
    }
}

fn unpack(packed: Bytes, packing: Compression, most: u64) -> Result<Bytes> {
    let fault = |error: String| ParquetError::General(format!("a page can't be unpacked: {error}"));
    let budget = Budget::of(Limits { bytes: most, ..Limits::current() });
    let read = |reader: Box<dyn Read + '_>| budget.read(reader).map_err(|error| fault(error.to_string()));
    let unpacked = match packing {
        Compression::UNCOMPRESSED => return Ok(packed),
        _ if packed.is_empty() => return Ok(packed),
        Compression::SNAPPY => {
            let size = snap::raw::decompress_len(&packed).map_err(|error| fault(error.to_string()))?;
            let mut unpacked: Vec<u8> = budget.filled(0, size).map_err(|error| fault(error.to_string()))?;
            let count = snap::raw::Decoder::new()
                .decompress(&packed, &mut unpacked)
                .map_err(|error| fault(error.to_string()))?;
            unpacked.truncate(count);
            unpacked
        }
        Compression::GZIP(_) => read(Box::new(flate2::read::MultiGzDecoder::new(&packed[..])))?,
        #[cfg(feature = "zstd")]
        Compression::ZSTD(_) => {
            let frames = crate::zstd::unpacked(&packed[..]).map_err(|error| fault(error.to_string()))?;
            read(frames)?
        }
        Compression::LZ4_RAW => lz4(&packed, &budget).map_err(fault)?,
        Compression::LZ4 => hadoop(&packed, &budget).or_else(|_| lz4(&packed, &budget)).map_err(fault)?,
        other => {
            let name = format!("{other:?}");
            let name = name.split('(').next().unwrap_or_default().to_lowercase();
            return Err(ParquetError::NYI(format!(
                "it is packed with {name}, which kiln doesn't unpack; write it with snappy, gzip, zstd or lz4"
            )));
        }
    };
    Ok(Bytes::from(unpacked))
}

/// A block of LZ4, whose size isn't said: it is counted first.
fn lz4(packed: &[u8], budget: &Budget) -> Result<Vec<u8>, String> {
    let size = crate::lz4::unpacked_size(packed).ok_or("what is packed with lz4 is damaged")?;
    let mut unpacked: Vec<u8> = budget.filled(0, size).map_err(|error| error.to_string())?;
    let count = lz4_flex::block::decompress_into(packed, &mut unpacked).map_err(|error| error.to_string())?;
    unpacked.truncate(count);
    Ok(unpacked)
}

/// Blocks of LZ4 as Hadoop writes them, each behind its sizes.
fn hadoop(packed: &[u8], budget: &Budget) -> Result<Vec<u8>, String> {
    let damaged = || "what is packed with lz4 is damaged".to_string();
    let (mut rest, mut unpacked) = (packed, Vec::new());
    while let Some((sizes, behind)) = rest.split_first_chunk::<8>() {
        let [whole, size] = [0, 4].map(|at| {
            sizes.get(at..at + 4).and_then(|size| size.try_into().ok()).map_or(0, u32::from_be_bytes) as usize
        });
        let (block, behind) = behind.split_at_checked(size).ok_or_else(damaged)?;
        let block = lz4(block, budget)?;
        if block.len() != whole {
            return Err(damaged());
        }
        unpacked.extend(block);
        rest = behind;
    }
    if rest.is_empty() { Ok(unpacked) } else { Err(damaged()) }
}
