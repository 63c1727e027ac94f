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
  LIMN_PICTURE_TOO_LARGE = 5,  // it would take more than LIMN_MOST_COEFFICIENT_BYTES
};

// A JPEG with several scans, such as a progressive one, is decoded with the coefficients of all its pixels in
// memory: 3 bytes per pixel with colours at half resolution, 6 at full. This limit is enough for 200 and 110
// megapixels, respectively.
enum { LIMN_MOST_COEFFICIENT_BYTES = 640 << 20 };

struct limn_picture {
  uint32_t width, height;
  char message[200];  // the library's own message, unless the status is LIMN_PICTURE_OK
};

// Each function reads a whole file in memory and returns a status. With `rgb` NULL it reads only the header
// and sets width and height. Otherwise it decodes into [height, width, 3] bytes, sRGB as stored, alpha
// dropped; width and height must match the header.
int limn_read_jpeg(const uint8_t *data, size_t count, uint8_t *rgb, struct limn_picture *picture);
int limn_read_png(const uint8_t *data, size_t count, uint8_t *rgb, struct limn_picture *picture);
int limn_read_webp(const uint8_t *data, size_t count, uint8_t *rgb, struct limn_picture *picture);

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
