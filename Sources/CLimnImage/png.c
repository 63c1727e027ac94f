#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <png.h>

#include "limn_image.h"

struct reader {
  const uint8_t *data;
  size_t count, position;
  int status;
  size_t rows, row_count;  // how many are decoded, and how many there are in all passes
  // The pixels have two checksums: CRCs over chunks, and zlib's over what is unpacked. While one of them is right, so
  // are the pixels. Reading byte by byte, libpng does not look at zlib's.
  int crc_failed, zlib_failed, reads_singly;
  struct limn_picture *picture;
};

static void describe(struct reader *reader, png_const_charp message) {
  snprintf(reader->picture->message, sizeof reader->picture->message, "%s", message);
}

static void stop(png_structp png, png_const_charp message) {
  struct reader *reader = png_get_error_ptr(png);
  describe(reader, message);
  if (reader->status == LIMN_PICTURE_OK)
    reader->status = !strcmp(message, "Not enough image data") ? LIMN_PICTURE_CUT_OFF : LIMN_PICTURE_BROKEN;
  png_longjmp(png, 1);
}

// Most warnings concern chunks that do not affect the pixels.
static void warn(png_structp png, png_const_charp message) {
  struct reader *reader = png_get_error_ptr(png);
  const int is_crc = strstr(message, "CRC error") != NULL;
  if (is_crc && (!strncmp(message, "IHDR", 4) || !strncmp(message, "PLTE", 4))) {
    // Only this checksum says that the size and the colours are right.
    if (!reader->picture->accepts_damage) png_error(png, message);
    reader->crc_failed = reader->zlib_failed = 1;
  } else if (is_crc && (!strncmp(message, "IDAT", 4) || !strncmp(message, "IEND", 4))) {
    if (message[1] == 'D') reader->crc_failed = 1;
    reader->picture->damage = LIMN_DAMAGE_HARMLESS;
    describe(reader, message);
  } else if (strstr(message, "incorrect data check")) {
    reader->zlib_failed = 1;
    reader->picture->damage = LIMN_DAMAGE_HARMLESS;
    describe(reader, message);
  }
}

static void take(png_structp png, png_bytep out, size_t count) {
  struct reader *reader = png_get_io_ptr(png);
  if (count > reader->count - reader->position) {
    if (reader->status == LIMN_PICTURE_OK) reader->status = LIMN_PICTURE_CUT_OFF;
    png_error(png, "the data ends inside a chunk");
  }
  memcpy(out, reader->data + reader->position, count);
  reader->position += count;
}

// Called for each row that is unpacked, before libpng writes it. (Its call for the last row ends only after it has read
// what follows the pixels, which may be damaged.)
static void count_row(png_structp png, png_row_infop info, png_bytep row) {
  (void)info, (void)row;
  ((struct reader *)png_get_io_ptr(png))->rows++;
}

// The status after the rows were read or reading stopped.
static int judge(const struct reader *reader) {
  struct limn_picture *picture = reader->picture;
  const int is_doubtful = reader->crc_failed && (reader->zlib_failed || reader->reads_singly);
  if (reader->rows == reader->row_count && !is_doubtful) {
    if (reader->status != LIMN_PICTURE_OK) picture->damage = LIMN_DAMAGE_HARMLESS;
    return LIMN_PICTURE_OK;
  }
  const int has_failed = reader->status != LIMN_PICTURE_OK || is_doubtful;
  if (has_failed && picture->accepts_damage) {
    picture->damage = LIMN_DAMAGE_LOSS;
    return LIMN_PICTURE_OK;
  }
  return reader->status == LIMN_PICTURE_OK && is_doubtful ? LIMN_PICTURE_BROKEN : reader->status;
}

// `reads_singly`: libpng takes compressed bytes one by one, instead of 8 KB that may not be there.
static int read_png(const uint8_t *data, size_t count, uint8_t *pixels, struct limn_picture *picture, int reads_singly) {
  struct reader reader = {.data = data, .count = count, .reads_singly = reads_singly, .picture = picture};
  volatile int has_header = 0;  // of the size that the caller expects
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &reader, stop, warn);
  if (!png) return LIMN_PICTURE_NO_MEMORY;
  png_infop info = png_create_info_struct(png);
  if (!info) reader.status = LIMN_PICTURE_NO_MEMORY;
  if (!info || setjmp(png_jmpbuf(png))) {
    png_destroy_read_struct(&png, info ? &info : NULL, NULL);
    return has_header ? judge(&reader) : reader.status;
  }
  png_set_read_fn(png, &reader, take);
  png_set_crc_action(png, PNG_CRC_WARN_USE, PNG_CRC_DEFAULT);
  png_set_benign_errors(png, 1);
  if (reads_singly) png_set_compression_buffer_size(png, 1);
  // Profiles, gamma and text do not affect the pixels, and a hostile file could make unpacking them costly.
  png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
  png_read_info(png, info);
  const uint32_t width = png_get_image_width(png, info), height = png_get_image_height(png, info);
  const int has_alpha = (png_get_color_type(png, info) & PNG_COLOR_MASK_ALPHA) || png_get_valid(png, info, PNG_INFO_tRNS);
  if (!pixels) {
    picture->width = width;
    picture->height = height;
    picture->has_alpha = has_alpha;
    png_destroy_read_struct(&png, &info, NULL);
    return LIMN_PICTURE_OK;
  }
  png_set_strip_16(png);
  png_set_palette_to_rgb(png);
  png_set_expand_gray_1_2_4_to_8(png);
  png_set_gray_to_rgb(png);
  if (png_get_valid(png, info, PNG_INFO_tRNS)) png_set_tRNS_to_alpha(png);
  png_set_read_user_transform_fn(png, count_row);
  const int passes = png_set_interlace_handling(png);
  for (int i = 0; i < passes && passes > 1; i++)
    if (PNG_PASS_COLS(width, i)) reader.row_count += PNG_PASS_ROWS(height, i);
  if (passes == 1) reader.row_count = height;
  png_read_update_info(png, info);
  const size_t row = (has_alpha ? 4 : 3) * (size_t)width;
  const int same = width == picture->width && height == picture->height && has_alpha == picture->has_alpha;
  if (!same || png_get_rowbytes(png, info) != row) png_error(png, "rows of an unexpected size");
  has_header = 1;
  for (int i = 0; i < passes; i++)
    for (uint32_t y = 0; y < height; y++) png_read_row(png, pixels + row * y, NULL);
  png_read_end(png, NULL);
  png_destroy_read_struct(&png, &info, NULL);
  return judge(&reader);
}

int limn_read_png(const uint8_t *data, size_t count, uint8_t *pixels, struct limn_picture *picture) {
  const int status = read_png(data, count, pixels, picture, 0);
  if (!pixels || (status != LIMN_PICTURE_CUT_OFF && picture->damage != LIMN_DAMAGE_LOSS)) return status;
  // Up to the very last byte there may be more pixels, or all of them.
  picture->damage = LIMN_DAMAGE_NONE;
  return read_png(data, count, pixels, picture, 1);
}
