#include <pthread.h>
#include <stdarg.h>
#include <string.h>

#include "library.h"
#include "limn_image.h"

// The part of libtiff's interface (4.x) that is used here.
typedef struct tiff TIFF;
typedef void (*TIFFErrorHandler)(const char *, const char *, va_list);
enum {
  TIFFTAG_IMAGEWIDTH = 256,
  TIFFTAG_IMAGELENGTH = 257,
  TIFFTAG_BITSPERSAMPLE = 258,
  TIFFTAG_PHOTOMETRIC = 262,
  TIFFTAG_ORIENTATION = 274,
  TIFFTAG_SAMPLESPERPIXEL = 277,
  TIFFTAG_TILEWIDTH = 322,
  TIFFTAG_TILELENGTH = 323,
  TIFFTAG_EXTRASAMPLES = 338,
  PHOTOMETRIC_RGB = 2,
  EXTRASAMPLE_ASSOCALPHA = 1,
  EXTRASAMPLE_UNASSALPHA = 2,
  ORIENTATION_TOPLEFT = 1,
};

#define FUNCTIONS(F)                                                                                                   \
  F(TIFF *, ClientOpen,                                                                                                \
    (const char *, const char *, void *, ptrdiff_t (*)(void *, void *, ptrdiff_t),                                     \
     ptrdiff_t (*)(void *, void *, ptrdiff_t), uint64_t (*)(void *, uint64_t, int), int (*)(void *),                   \
     uint64_t (*)(void *), int (*)(void *, void **, uint64_t *), void (*)(void *, void *, uint64_t)))                  \
  F(void, Close, (TIFF *))                                                                                             \
  F(int, GetField, (TIFF *, uint32_t, ...))                                                                            \
  F(int, SetField, (TIFF *, uint32_t, ...))                                                                            \
  F(int, IsTiled, (TIFF *))                                                                                            \
  F(int, LastDirectory, (TIFF *))                                                                                      \
  F(int, RGBAImageOK, (TIFF *, char *))                                                                                \
  F(int, ReadRGBAImageOriented, (TIFF *, uint32_t, uint32_t, uint32_t *, int, int))                                    \
  F(TIFFErrorHandler, SetErrorHandler, (TIFFErrorHandler))                                                             \
  F(TIFFErrorHandler, SetWarningHandler, (TIFFErrorHandler))

static struct {
#define FIELD(type, name, parameters) type(*name) parameters;
  FUNCTIONS(FIELD)
#undef FIELD
} tiff;
static int is_ready;
static _Thread_local struct limn_picture *current;  // what this thread reads

// libtiff's handlers belong to the process; the messages of this one go to the picture that its thread reads.
static void describe(const char *module, const char *format, va_list arguments) {
  (void)module;
  if (current && !*current->message) vsnprintf(current->message, sizeof current->message, format, arguments);
}

static void open_tiff(void) {
#ifdef __APPLE__
  static const char *const names[] = {
    "libtiff.6.dylib", "/opt/homebrew/lib/libtiff.6.dylib", "/usr/local/lib/libtiff.6.dylib", NULL};
#else
  static const char *const names[] = {"libtiff.so.6", "libtiff.so.5", NULL};
#endif
  void *library = open_library(names);
  is_ready = library != NULL;
#define FIND(type, name, parameters) is_ready = is_ready && find_function(library, "TIFF" #name, &tiff.name);
  FUNCTIONS(FIND)
#undef FIND
  if (!is_ready) return;
  tiff.SetErrorHandler(describe);
  tiff.SetWarningHandler(NULL);
}

// A file in memory, as libtiff reads it.
struct memory {
  const uint8_t *data;
  uint64_t count, position;
  int passed_end;
};

static ptrdiff_t take(void *context, void *out, ptrdiff_t count) {
  struct memory *memory = context;
  const uint64_t left = memory->position < memory->count ? memory->count - memory->position : 0;
  if (count < 0) return -1;
  if ((uint64_t)count > left) {
    memory->passed_end = 1;
    count = (ptrdiff_t)left;
  }
  if (count) memcpy(out, memory->data + memory->position, (size_t)count);
  memory->position += (uint64_t)count;
  return count;
}

static ptrdiff_t refuse_writing(void *context, void *data, ptrdiff_t count) {
  (void)context, (void)data, (void)count;
  return -1;
}

static uint64_t seek(void *context, uint64_t offset, int origin) {
  struct memory *memory = context;
  const uint64_t base = origin == SEEK_SET ? 0 : origin == SEEK_CUR ? memory->position : memory->count;
  memory->position = base + offset;
  if (memory->position > memory->count) memory->passed_end = 1;
  return memory->position;
}

static int leave(void *context) { return (void)context, 0; }

static uint64_t measure(void *context) { return ((struct memory *)context)->count; }

static int do_not_map(void *context, void **base, uint64_t *size) { return (void)context, (void)base, (void)size, 0; }

static void unmap(void *context, void *base, uint64_t size) { (void)context, (void)base, (void)size; }

// Reads the size, and makes libtiff give rows and alpha as they are stored: it would turn some orientations and not
// others, and multiply colours by an alpha that they are not multiplied by yet.
static int read_header(TIFF *file, struct limn_picture *picture, int *is_premultiplied) {
  uint32_t width = 0, height = 0, tile_width = 0, tile_height = 0;
  uint16_t orientation = 0, photometric = 0, samples = 1, count = 0;
  uint16_t *extra = NULL;
  char reason[1024] = "";
  if (!tiff.GetField(file, TIFFTAG_IMAGEWIDTH, &width) || !tiff.GetField(file, TIFFTAG_IMAGELENGTH, &height))
    return LIMN_PICTURE_BROKEN;
  if (tiff.IsTiled(file)) {
    tiff.GetField(file, TIFFTAG_TILEWIDTH, &tile_width);
    tiff.GetField(file, TIFFTAG_TILELENGTH, &tile_height);
    // One tile is unpacked at a time, and a small file may claim any size for it.
    if ((uint64_t)tile_width * tile_height > 4 * ((uint64_t)width * height + (1 << 20))) return LIMN_PICTURE_BROKEN;
  }
  if (!tiff.RGBAImageOK(file, reason)) {
    snprintf(picture->message, sizeof picture->message, "%s", reason);
    return LIMN_PICTURE_UNSUPPORTED;
  }
  tiff.GetField(file, TIFFTAG_ORIENTATION, &orientation);
  tiff.GetField(file, TIFFTAG_PHOTOMETRIC, &photometric);
  tiff.GetField(file, TIFFTAG_SAMPLESPERPIXEL, &samples);
  if (photometric == PHOTOMETRIC_RGB && samples > 3 && tiff.GetField(file, TIFFTAG_EXTRASAMPLES, &count, &extra) && count) {
    picture->has_alpha = extra[0] == EXTRASAMPLE_ASSOCALPHA || extra[0] == EXTRASAMPLE_UNASSALPHA;
    *is_premultiplied = extra[0] == EXTRASAMPLE_ASSOCALPHA;
    if (extra[0] == EXTRASAMPLE_UNASSALPHA) {
      uint16_t kinds[16] = {EXTRASAMPLE_ASSOCALPHA};
      tiff.SetField(file, TIFFTAG_EXTRASAMPLES, count < 16 ? count : 16, kinds);
    }
  }
  tiff.SetField(file, TIFFTAG_ORIENTATION, ORIENTATION_TOPLEFT);
  picture->width = width;
  picture->height = height;
  picture->orientation = orientation;
  picture->is_animated = !tiff.LastDirectory(file);
  return LIMN_PICTURE_OK;
}

// From libtiff's packed pixels, red in the lowest bits, to bytes in the same memory or, without alpha, 3 of every 4.
static void unpack(uint8_t *pixels, const uint32_t *packed, size_t count, int has_alpha, int is_premultiplied) {
  for (size_t i = 0; i < count; i++) {
    const uint32_t pixel = packed[i], alpha = pixel >> 24;
    uint8_t *out = pixels + (has_alpha ? 4 : 3) * i;
    for (int c = 0; c < 3; c++) {
      uint32_t value = pixel >> 8 * c & 255;
      if (is_premultiplied && alpha) value = value * 255 / alpha;
      out[c] = (uint8_t)(value > 255 ? 255 : value);
    }
    if (has_alpha) out[3] = (uint8_t)alpha;
  }
}

static int decode(TIFF *file, uint8_t *pixels, struct limn_picture *picture, int is_premultiplied, int *is_cut_off) {
  const size_t count = (size_t)picture->width * picture->height;
  uint32_t *packed = calloc(count, sizeof *packed);
  if (!packed) return LIMN_PICTURE_NO_MEMORY;
  const int stops = !picture->accepts_damage;
  const int is_whole = tiff.ReadRGBAImageOriented(
    file, picture->width, picture->height, packed, ORIENTATION_TOPLEFT, stops);
  // Without stopping, libtiff reports success after errors, too.
  const int has_failed = !is_whole || *picture->message;
  if (has_failed && !picture->accepts_damage) {
    free(packed);
    return *is_cut_off ? LIMN_PICTURE_CUT_OFF : LIMN_PICTURE_BROKEN;
  }
  if (has_failed) picture->damage = LIMN_DAMAGE_LOSS;
  unpack(pixels, packed, count, picture->has_alpha, is_premultiplied);
  free(packed);
  return LIMN_PICTURE_OK;
}

int limn_read_tiff(const uint8_t *data, size_t count, uint8_t *pixels, struct limn_picture *picture) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, open_tiff);
  if (!is_ready) return LIMN_PICTURE_NO_LIBRARY;
  current = picture;
  struct memory memory = {.data = data, .count = count};
  TIFF *file = tiff.ClientOpen("", "rm", &memory, take, refuse_writing, seek, leave, measure, do_not_map, unmap);
  int status = LIMN_PICTURE_BROKEN, is_premultiplied = 0;
  if (file) {
    struct limn_picture header = {.accepts_damage = picture->accepts_damage};
    current = &header;
    status = read_header(file, &header, &is_premultiplied);
    current = picture;
    memcpy(picture->message, header.message, sizeof picture->message);
    const int same = header.width == picture->width && header.height == picture->height
                     && header.has_alpha == picture->has_alpha;
    if (status == LIMN_PICTURE_OK && !pixels) {
      *picture = header;
      *picture->message = 0;
    } else if (status == LIMN_PICTURE_OK && same) {
      *picture->message = 0;
      memory.passed_end = 0;
      status = decode(file, pixels, picture, is_premultiplied, &memory.passed_end);
    } else if (status == LIMN_PICTURE_OK) {
      status = LIMN_PICTURE_BROKEN;
    }
    tiff.Close(file);
  }
  if (status == LIMN_PICTURE_BROKEN && memory.passed_end) status = LIMN_PICTURE_CUT_OFF;
  current = NULL;
  return status;
}
