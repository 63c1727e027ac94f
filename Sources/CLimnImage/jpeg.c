#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

#include "limn_image.h"

// Progressive images are decoded scan by scan over all their pixels, and a scan may take only a few bytes. So
// the work is bounded, not just the number of pixels. Ordinary files have about ten scans.
#define MOST_SCANS 500
#define MOST_SCANNED_PIXELS 4000000000ull

struct reader {
  struct jpeg_error_mgr errors;
  int is_cut_off;  // the data ended before the marker that ends a JPEG
  struct jpeg_progress_mgr progress;
  jmp_buf escape;
  int status;
  struct limn_picture *picture;
};

static _Noreturn void fail(j_common_ptr info, int status) {
  struct reader *reader = info->client_data;
  char text[JMSG_LENGTH_MAX];
  reader->errors.format_message(info, text);
  snprintf(reader->picture->message, sizeof reader->picture->message, "%s", text);
  reader->status = status;
  longjmp(reader->escape, 1);
}

static void stop(j_common_ptr info) {
  switch (info->err->msg_code) {
  case JERR_SOF_UNSUPPORTED:
  case JERR_BAD_PRECISION:
  case JERR_ARITH_NOTIMPL:
  case JERR_CONVERSION_NOTIMPL:
  case JERR_NOTIMPL:
  case JERR_CCIR601_NOTIMPL:
  case JERR_FRACT_SAMPLE_NOTIMPL:
    fail(info, LIMN_PICTURE_UNSUPPORTED);
  case JERR_OUT_OF_MEMORY:
    fail(info, LIMN_PICTURE_NO_MEMORY);
  case JERR_NO_BACKING_STORE:  // data beyond max_memory_to_use would go to a file
    fail(info, LIMN_PICTURE_TOO_LARGE);
  default:
    fail(info, ((struct reader *)info->client_data)->is_cut_off ? LIMN_PICTURE_CUT_OFF : LIMN_PICTURE_BROKEN);
  }
}

// Notes damage that does not stop libjpeg; `status` says what it would be if nobody accepts it.
static void note(j_common_ptr info, int status) {
  struct reader *reader = info->client_data;
  if (!reader->picture->accepts_damage) fail(info, status);
  reader->picture->damage = LIMN_DAMAGE_LOSS;
  info->err->format_message(info, reader->picture->message);
}

// After damage, libjpeg continues with grey or garbage in place of the lost data. Such images are rejected unless the
// caller accepts damage; warnings that cost no pixels (bytes between segments, an unusual marker) are ignored.
static void warn(j_common_ptr info, int level) {
  if (level >= 0) return;
  struct reader *reader = info->client_data;
  switch (info->err->msg_code) {
    case JWRN_JPEG_EOF: reader->is_cut_off = 1; break;
    case JWRN_HIT_MARKER: note(info, LIMN_PICTURE_CUT_OFF); break;  // A block needs more bits than there are.
    case JWRN_HUFF_BAD_CODE:
    case JWRN_ARITH_BAD_CODE:
    case JWRN_MUST_RESYNC: note(info, LIMN_PICTURE_BROKEN); break;
  }
}

// Whether a file that ends early has all its scans. Each scan was complete, or `warn` would have said so.
static int has_all_scans(j_decompress_ptr info) {
  for (int i = 0; i < info->num_components; i++) {
    if (!info->comp_info[i].quant_table) return 0;  // set by a component's first scan
    if (!info->progressive_mode || !info->coef_bits) continue;
    for (int k = 0; k < DCTSIZE2; k++)
      if (info->coef_bits[i][k] != 0) return 0;  // this coefficient has bits to come
  }
  return 1;
}

static void watch(j_common_ptr common) {
  j_decompress_ptr info = (j_decompress_ptr)common;
  const unsigned long long scans = info->input_scan_number;
  if (scans > MOST_SCANS || scans * info->image_width * info->image_height > MOST_SCANNED_PIXELS) {
    struct reader *reader = info->client_data;
    snprintf(reader->picture->message, sizeof reader->picture->message, "too many scans (%llu)", scans);
    reader->status = LIMN_PICTURE_BROKEN;
    longjmp(reader->escape, 1);
  }
}

// Inverted CMYK, as Adobe stores it: a sample is 255 − ink. The colour is white minus the key ink, minus the
// key's share of the other ink, rounded as in Pillow.
static void cmyk_to_rgb(const uint8_t *cmyk, size_t pixels, uint8_t *rgb) {
  for (size_t i = 0; i < pixels; i++) {
    const int light = cmyk[4 * i + 3];
    for (int c = 0; c < 3; c++) {
      const int product = (255 - cmyk[4 * i + c]) * light + 128;
      rgb[3 * i + c] = (uint8_t)(light - ((product + (product >> 8)) >> 8));
    }
  }
}

int limn_read_jpeg(const uint8_t *data, size_t count, uint8_t *pixels, struct limn_picture *picture) {
  struct jpeg_decompress_struct info;
  struct reader reader = {.picture = picture};
  uint8_t *volatile ink = NULL;
  volatile int has_started = 0;
  memset(&info, 0, sizeof info);
  info.err = jpeg_std_error(&reader.errors);
  info.client_data = &reader;
  reader.errors.error_exit = stop;
  reader.errors.emit_message = warn;
  if (setjmp(reader.escape)) {
    jpeg_destroy_decompress(&info);
    free(ink);
    const int is_damage = reader.status == LIMN_PICTURE_BROKEN || reader.status == LIMN_PICTURE_CUT_OFF;
    if (!has_started || !picture->accepts_damage || !is_damage) return reader.status;
    picture->damage = LIMN_DAMAGE_LOSS;
    return LIMN_PICTURE_OK;
  }
  jpeg_create_decompress(&info);
  info.mem->max_memory_to_use = LIMN_MOST_COEFFICIENT_BYTES;
  reader.progress.progress_monitor = watch;
  info.progress = &reader.progress;
  jpeg_mem_src(&info, data, count);
  jpeg_read_header(&info, TRUE);
  if (!pixels) {
    picture->width = info.image_width;
    picture->height = info.image_height;
    jpeg_destroy_decompress(&info);
    return LIMN_PICTURE_OK;
  }
  if (info.image_width != picture->width || info.image_height != picture->height) {
    jpeg_destroy_decompress(&info);
    return LIMN_PICTURE_BROKEN;
  }
  const int components = info.num_components;
  if (components != 1 && components != 3 && components != 4) {
    snprintf(picture->message, sizeof picture->message, "%d colour components", components);
    jpeg_destroy_decompress(&info);
    return LIMN_PICTURE_UNSUPPORTED;
  }
  info.out_color_space = components == 4 ? JCS_CMYK : JCS_RGB;
  has_started = 1;
  jpeg_start_decompress(&info);
  const size_t width = info.output_width;
  if (components == 4 && !(ink = malloc(4 * width))) {
    jpeg_destroy_decompress(&info);
    return LIMN_PICTURE_NO_MEMORY;
  }
  while (info.output_scanline < info.output_height) {
    uint8_t *out = pixels + 3 * width * info.output_scanline;
    JSAMPROW row = ink ? ink : out;
    jpeg_read_scanlines(&info, &row, 1);
    if (ink) cmyk_to_rgb(ink, width, out);
  }
  if (reader.is_cut_off && !has_all_scans(&info)) {
    info.err->msg_code = JWRN_JPEG_EOF;
    note((j_common_ptr)&info, LIMN_PICTURE_CUT_OFF);
  }
  jpeg_finish_decompress(&info);
  if (reader.is_cut_off && picture->damage == LIMN_DAMAGE_NONE) {
    picture->damage = LIMN_DAMAGE_HARMLESS;
    snprintf(picture->message, sizeof picture->message, "the end marker is missing");
  }
  jpeg_destroy_decompress(&info);
  free(ink);
  return LIMN_PICTURE_OK;
}
