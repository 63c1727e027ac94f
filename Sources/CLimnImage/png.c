#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <png.h>

#include "limn_image.h"

struct reader {
  const uint8_t *data;
  size_t count, position;
  int status;
  struct limn_picture *picture;
};

static void stop(png_structp png, png_const_charp message) {
  struct reader *reader = png_get_error_ptr(png);
  snprintf(reader->picture->message, sizeof reader->picture->message, "%s", message);
  if (reader->status == LIMN_PICTURE_OK)
    reader->status = !strcmp(message, "Not enough image data") ? LIMN_PICTURE_CUT_OFF : LIMN_PICTURE_BROKEN;
  png_longjmp(png, 1);
}

// Warnings concern chunks that do not affect the pixels.
static void pass(png_structp png, png_const_charp message) {
  (void)png;
  (void)message;
}

static void take(png_structp png, png_bytep out, size_t count) {
  struct reader *reader = png_get_io_ptr(png);
  if (count > reader->count - reader->position) {
    reader->status = LIMN_PICTURE_CUT_OFF;
    png_error(png, "the data ends inside a chunk");
  }
  memcpy(out, reader->data + reader->position, count);
  reader->position += count;
}

int limn_read_png(const uint8_t *data, size_t count, uint8_t *rgb, struct limn_picture *picture) {
  struct reader reader = {.data = data, .count = count, .picture = picture};
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &reader, stop, pass);
  if (!png) return LIMN_PICTURE_NO_MEMORY;
  png_infop info = png_create_info_struct(png);
  if (!info) reader.status = LIMN_PICTURE_NO_MEMORY;
  if (!info || setjmp(png_jmpbuf(png))) {
    png_destroy_read_struct(&png, info ? &info : NULL, NULL);
    return reader.status;
  }
  png_set_read_fn(png, &reader, take);
  // Profiles, gamma and text do not affect the pixels, and a hostile file could make unpacking them costly.
  png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
  png_read_info(png, info);
  const uint32_t width = png_get_image_width(png, info), height = png_get_image_height(png, info);
  if (!rgb) {
    picture->width = width;
    picture->height = height;
    png_destroy_read_struct(&png, &info, NULL);
    return LIMN_PICTURE_OK;
  }
  png_set_strip_16(png);
  png_set_palette_to_rgb(png);
  png_set_expand_gray_1_2_4_to_8(png);
  png_set_gray_to_rgb(png);
  png_set_strip_alpha(png);
  const int passes = png_set_interlace_handling(png);
  png_read_update_info(png, info);
  const int same = width == picture->width && height == picture->height;
  if (!same || png_get_rowbytes(png, info) != 3 * (size_t)width) png_error(png, "rows of an unexpected size");
  for (int i = 0; i < passes; i++)
    for (uint32_t y = 0; y < height; y++) png_read_row(png, rgb + 3 * (size_t)width * y, NULL);
  png_read_end(png, NULL);
  png_destroy_read_struct(&png, &info, NULL);
  return LIMN_PICTURE_OK;
}
