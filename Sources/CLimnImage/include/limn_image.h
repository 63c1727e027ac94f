#pragma once
#include <stddef.h>
#include <stdint.h>

// Decoders wrapped in plain C calls, because the error handling of libjpeg and libpng jumps over stack
// frames, which must never be Swift's.

enum {
  LIMN_PICTURE_OK = 0,
  LIMN_PICTURE_CUT_OFF = 1,      // the data ends before the image does
  LIMN_PICTURE_BROKEN = 2,       // the data contradicts the format
  LIMN_PICTURE_UNSUPPORTED = 3,  // well formed, but of a kind that the library does not decode
  LIMN_PICTURE_NO_MEMORY = 4,
  LIMN_PICTURE_TOO_LARGE = 5,   // it would take more than LIMN_MOST_COEFFICIENT_BYTES
  LIMN_PICTURE_NO_LIBRARY = 6,  // the library that decodes this format is not installed
};

// What is wrong with a file that is decoded nevertheless.
enum {
  LIMN_DAMAGE_NONE = 0,
  LIMN_DAMAGE_HARMLESS = 1,  // its end or a checksum; all pixels are there
  LIMN_DAMAGE_LOSS = 2,      // pixels are missing or wrong; only with `accepts_damage`
};

// A JPEG with several scans, such as a progressive one, is decoded with the coefficients of all its pixels in
// memory: 3 bytes per pixel with colours at half resolution, 6 at full. This limit is enough for 200 and 110
// megapixels, respectively.
enum { LIMN_MOST_COEFFICIENT_BYTES = 640 << 20 };

struct limn_picture {
  int accepts_damage;  // set by the caller: decode what there is; missing pixels stay as they are in `pixels`
  uint32_t width, height;
  int has_alpha;      // pixels have a fourth byte, not premultiplied
  int is_animated;    // there are more pictures in the file; the first is decoded
  int orientation;    // 1 … 8 as in EXIF, for formats that store it among their own fields; else 0
  int damage;         // LIMN_DAMAGE_…
  char message[200];  // the library's own message, unless the status is LIMN_PICTURE_OK and there is no damage
};

// Each function reads a whole file in memory and returns a status. With `pixels` NULL it reads only the header.
// Otherwise it decodes into [height, width, 3] bytes, or 4 with alpha, sRGB as stored; the first five fields must be
// those of the header.
int limn_read_jpeg(const uint8_t *data, size_t count, uint8_t *pixels, struct limn_picture *picture);
int limn_read_png(const uint8_t *data, size_t count, uint8_t *pixels, struct limn_picture *picture);
int limn_read_webp(const uint8_t *data, size_t count, uint8_t *pixels, struct limn_picture *picture);

// HEIC and AVIF by the system's libheif, and TIFF by its libtiff: opened when the first such picture comes rather than
// linked, so that limn builds and runs on machines without them.
int limn_read_heic(const uint8_t *data, size_t count, uint8_t *pixels, struct limn_picture *picture);
int limn_read_avif(const uint8_t *data, size_t count, uint8_t *pixels, struct limn_picture *picture);
int limn_read_tiff(const uint8_t *data, size_t count, uint8_t *pixels, struct limn_picture *picture);

// Pixels with alpha, [count, 4], become [count, 3] in the same memory: the colours as they are, or composited on
// `background` (3 bytes) if it is not NULL. Returns how many pixels were less than half opaque.
size_t limn_remove_alpha(uint8_t *pixels, size_t count, const uint8_t *background);

// Resampling of 8-bit pixels with weights in units of 2^-22, and Pillow's rounding of sums to 8 bits.
enum {
  LIMN_RESAMPLE_BITS = 22,
  LIMN_RESAMPLE_HALF = 1 << (LIMN_RESAMPLE_BITS - 1),
};

// Resamples one row of RGB pixels to `outputs` pixels: output i is the sum over k < taps[i] of
// weights[i * stride + k] × pixel[starts[i] + k].
void limn_resample_row(
  const uint8_t *row, const int32_t *starts, const int32_t *taps, const int32_t *weights, size_t stride,
  size_t outputs, uint8_t *out);
// sums[i] += weight × row[i]. Sums start at LIMN_RESAMPLE_HALF.
void limn_resample_add(const uint8_t *row, int32_t weight, size_t count, int32_t *sums);
// out[i] = sums[i] / 2^22, clamped to 0 … 255.
void limn_resample_round(const int32_t *sums, size_t count, uint8_t *out);
