#include <pthread.h>
#include <string.h>

#include "library.h"
#include "limn_image.h"

// The part of libheif's interface (1.x) that is used here, with the values of its enumerations.
struct heif_context;
struct heif_image_handle;
struct heif_image;
struct heif_error {
  int code, subcode;
  const char *message;
};
struct heif_color_profile_nclx {
  uint8_t version;
  int color_primaries, transfer_characteristics, matrix_coefficients;
  uint8_t full_range_flag;  // more fields follow
};
enum {
  heif_error_Invalid_input = 2,
  heif_error_Unsupported_filetype = 3,
  heif_error_Unsupported_feature = 4,
  heif_error_Memory_allocation_error = 6,
  heif_error_Plugin_loading_error = 11,
  heif_suberror_End_of_data = 100,
  heif_suberror_Security_limit_exceeded = 1000,
  heif_suberror_Unsupported_codec = 3000,
  heif_colorspace_YCbCr = 0,
  heif_colorspace_RGB = 1,
  heif_chroma_420 = 1,
  heif_chroma_422 = 2,
  heif_chroma_444 = 3,
  heif_chroma_interleaved_RGB = 10,
  heif_chroma_interleaved_RGBA = 11,
  heif_channel_Y = 0,
  heif_channel_Cb = 1,
  heif_channel_Cr = 2,
  heif_channel_Alpha = 6,
  heif_channel_interleaved = 10,
};

#define FUNCTIONS(F)                                                                                                   \
  F(uint32_t, get_version_number, (void))                                                                              \
  F(struct heif_context *, context_alloc, (void))                                                                      \
  F(void, context_free, (struct heif_context *))                                                                       \
  F(struct heif_error, context_read_from_memory_without_copy,                                                          \
    (struct heif_context *, const void *, size_t, const void *))                                                       \
  F(struct heif_error, context_get_primary_image_handle, (struct heif_context *, struct heif_image_handle **))         \
  F(void, image_handle_release, (const struct heif_image_handle *))                                                    \
  F(int, image_handle_get_width, (const struct heif_image_handle *))                                                   \
  F(int, image_handle_get_height, (const struct heif_image_handle *))                                                  \
  F(int, image_handle_has_alpha_channel, (const struct heif_image_handle *))                                           \
  F(struct heif_error, decode_image,                                                                                   \
    (const struct heif_image_handle *, struct heif_image **, int, int, const void *))                                  \
  F(int, image_get_bits_per_pixel_range, (const struct heif_image *, int))                                             \
  F(struct heif_error, image_get_nclx_color_profile,                                                                   \
    (const struct heif_image *, struct heif_color_profile_nclx **))                                                    \
  F(struct heif_error, image_handle_get_nclx_color_profile,                                                            \
    (const struct heif_image_handle *, struct heif_color_profile_nclx **))                                             \
  F(void, nclx_color_profile_free, (struct heif_color_profile_nclx *))                                                 \
  F(int, image_get_width, (const struct heif_image *, int))                                                            \
  F(int, image_get_height, (const struct heif_image *, int))                                                           \
  F(const uint8_t *, image_get_plane_readonly, (const struct heif_image *, int, int *))                                \
  F(void, image_release, (const struct heif_image *))

static struct {
#define FIELD(type, name, parameters) type(*name) parameters;
  FUNCTIONS(FIELD)
#undef FIELD
} heif;
static int is_ready;

static void open_heif(void) {
#ifdef __APPLE__
  static const char *const names[] = {
    "libheif.1.dylib", "/opt/homebrew/lib/libheif.1.dylib", "/usr/local/lib/libheif.1.dylib", NULL};
#else
  static const char *const names[] = {"libheif.so.1", NULL};
#endif
  void *library = open_library(names);
  is_ready = library != NULL;
#define FIND(type, name, parameters) is_ready = is_ready && find_function(library, "heif_" #name, &heif.name);
  FUNCTIONS(FIND)
#undef FIND
}

static int fail(struct heif_error error, struct limn_picture *picture) {
  snprintf(picture->message, sizeof picture->message, "%s", error.message ? error.message : "");
  switch (error.code) {
  case heif_error_Memory_allocation_error:
    return error.subcode == heif_suberror_Security_limit_exceeded ? LIMN_PICTURE_BROKEN : LIMN_PICTURE_NO_MEMORY;
  case heif_error_Unsupported_filetype:
  case heif_error_Unsupported_feature:
  case heif_error_Plugin_loading_error:
    // A library without the codec's plug-in is as good as none.
    return error.subcode == heif_suberror_Unsupported_codec ? LIMN_PICTURE_NO_LIBRARY : LIMN_PICTURE_UNSUPPORTED;
  default:
    return error.subcode == heif_suberror_End_of_data ? LIMN_PICTURE_CUT_OFF : LIMN_PICTURE_BROKEN;
  }
}

static int copy(const struct heif_image *image, uint8_t *pixels, struct limn_picture *picture) {
  int stride = 0;
  const uint8_t *rows = heif.image_get_plane_readonly(image, heif_channel_interleaved, &stride);
  const size_t row = (picture->has_alpha ? 4 : 3) * (size_t)picture->width;
  const int width = heif.image_get_width(image, heif_channel_interleaved);
  const int height = heif.image_get_height(image, heif_channel_interleaved);
  if (!rows || width != (int)picture->width || height != (int)picture->height || (size_t)stride < row) {
    snprintf(picture->message, sizeof picture->message, "the image is %d × %d, not of the size announced", width, height);
    return LIMN_PICTURE_BROKEN;
  }
  for (size_t y = 0; y < picture->height; y++) memcpy(pixels + row * y, rows + (size_t)stride * y, row);
  return LIMN_PICTURE_OK;
}

// MARK: AVIF's colours

// One channel of an image, 8 bits per sample or more.
struct plane {
  const uint8_t *rows;
  int stride, width, height, bits;
};

static struct plane plane_of(const struct heif_image *image, int channel) {
  struct plane plane = {0};
  plane.rows = heif.image_get_plane_readonly(image, channel, &plane.stride);
  plane.width = heif.image_get_width(image, channel);
  plane.height = heif.image_get_height(image, channel);
  plane.bits = heif.image_get_bits_per_pixel_range(image, channel);
  return plane;
}

static float sample(const struct plane *plane, int x, int y) {
  x = x < 0 ? 0 : x >= plane->width ? plane->width - 1 : x;
  y = y < 0 ? 0 : y >= plane->height ? plane->height - 1 : y;
  const uint8_t *row = plane->rows + (ptrdiff_t)plane->stride * y;
  if (plane->bits <= 8) return row[x];
  uint16_t value;
  memcpy(&value, row + 2 * x, sizeof value);
  return value;
}

// The chroma at a pixel: between the samples of a plane of half the size, those nearer count three times as much.
static float chroma(const struct plane *plane, int x, int y, int halves_x, int halves_y) {
  const int near_x = halves_x ? x / 2 : x, far_x = halves_x ? (x % 2 ? near_x + 1 : near_x - 1) : x;
  const int near_y = halves_y ? y / 2 : y, far_y = halves_y ? (y % 2 ? near_y + 1 : near_y - 1) : y;
  const float near = 3 * sample(plane, near_x, near_y) + sample(plane, far_x, near_y);
  const float far = 3 * sample(plane, near_x, far_y) + sample(plane, far_x, far_y);
  return (3 * near + far) / 16;
}

static uint8_t to_byte(float value) {
  return (uint8_t)(value <= 0 ? 0 : value >= 1 ? 255 : value * 255 + 0.5f);
}

// How AV1's configuration in the file says that chroma is stored, as libheif's constant; 0 for monochrome or no answer.
static int find_chroma(const uint8_t *data, size_t count) {
  for (size_t i = 0; i + 7 < count && i < 1 << 16; i++) {
    if (memcmp(data + i, "av1C", 4)) continue;
    const int flags = data[i + 6], is_monochrome = flags & 16;  // Alpha is.
    if (!is_monochrome) return flags & 8 ? (flags & 4 ? heif_chroma_420 : heif_chroma_422) : heif_chroma_444;
  }
  return 0;
}

// Browsers and Pillow interpolate AVIF's chroma where libheif before 1.16 repeats it, which shows at edges of saturated
// colours. (They read HEIC through libheif.) This is for the usual matrix of BT.601; libheif hands samples out in their
// full range, 1.15 those of files with the limited one, too. Returns 0, with nothing done, for anything else.
static int interpolate(
  const struct heif_image *image, const struct heif_image_handle *handle, uint8_t *pixels, struct limn_picture *picture) {
  const struct plane luma = plane_of(image, heif_channel_Y), cb = plane_of(image, heif_channel_Cb);
  const struct plane cr = plane_of(image, heif_channel_Cr), alpha = plane_of(image, heif_channel_Alpha);
  const int width = (int)picture->width, height = (int)picture->height;
  const int halves_x = cb.width != width, halves_y = cb.height != height;
  if (!luma.rows || !cb.rows || !cr.rows || luma.width != width || luma.height != height) return 0;
  if (cb.width != (halves_x ? (width + 1) / 2 : width) || cb.height != (halves_y ? (height + 1) / 2 : height)) return 0;
  if (cr.width != cb.width || cr.height != cb.height || cb.bits != luma.bits || cr.bits != luma.bits) return 0;
  const int has_usual_alpha = alpha.rows && alpha.width == width && alpha.height == height && alpha.bits <= 16;
  if (picture->has_alpha && !has_usual_alpha) return 0;
  if (luma.bits < 8 || luma.bits > 16) return 0;
  struct heif_color_profile_nclx *profile = NULL;
  if (heif.image_handle_get_nclx_color_profile(handle, &profile).code || !profile) {
    profile = NULL;
    if (heif.image_get_nclx_color_profile(image, &profile).code || !profile) return 0;
  }
  const uint32_t version = heif.get_version_number();  // 1.15.1 is 0x010F0100
  const int matrix = profile->matrix_coefficients, is_full = profile->full_range_flag;
  heif.nclx_color_profile_free(profile);
  const int is_usual = matrix == 2 || matrix == 5 || matrix == 6;  // 2 is unspecified
  if (!is_usual || version >= 0x01100000 || (!is_full && version < 0x010F0000)) return 0;
  const float red = 0.299f, blue = 0.114f, green = 1 - red - blue;
  const float largest = (float)((1 << luma.bits) - 1), half = (float)(1 << (luma.bits - 1));
  for (int y = 0; y < height; y++) {
    uint8_t *out = pixels + (picture->has_alpha ? 4 : 3) * (size_t)width * (size_t)y;
    for (int x = 0; x < width; x++) {
      const float l = sample(&luma, x, y) / largest;
      const float r = 2 * (1 - red) * (chroma(&cr, x, y, halves_x, halves_y) - half) / largest;
      const float b = 2 * (1 - blue) * (chroma(&cb, x, y, halves_x, halves_y) - half) / largest;
      *out++ = to_byte(l + r);
      *out++ = to_byte(l - (red * r + blue * b) / green);
      *out++ = to_byte(l + b);
      if (picture->has_alpha) *out++ = to_byte(sample(&alpha, x, y) / (float)((1 << alpha.bits) - 1));
    }
  }
  return 1;
}

// libheif turns the image as the file's own properties say; EXIF's orientation does not count in these formats.
static int read_heif(const uint8_t *data, size_t count, uint8_t *pixels, struct limn_picture *picture, int is_avif) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, open_heif);
  if (!is_ready) return LIMN_PICTURE_NO_LIBRARY;
  struct heif_context *context = heif.context_alloc();
  if (!context) return LIMN_PICTURE_NO_MEMORY;
  struct heif_image_handle *handle = NULL;
  struct heif_image *image = NULL;
  int status = LIMN_PICTURE_OK;
  struct heif_error error = heif.context_read_from_memory_without_copy(context, data, count, NULL);
  if (!error.code) error = heif.context_get_primary_image_handle(context, &handle);
  if (!error.code && !pixels) {
    const int width = heif.image_handle_get_width(handle), height = heif.image_handle_get_height(handle);
    picture->width = width > 0 ? (uint32_t)width : 0;
    picture->height = height > 0 ? (uint32_t)height : 0;
    picture->has_alpha = heif.image_handle_has_alpha_channel(handle) != 0;
  } else if (!error.code) {
    int is_done = 0;
    const int stored = is_avif ? find_chroma(data, count) : 0;
    if (stored) {
      error = heif.decode_image(handle, &image, heif_colorspace_YCbCr, stored, NULL);
      is_done = !error.code && interpolate(image, handle, pixels, picture);
    }
    if (!error.code && !is_done) {
      if (image) heif.image_release(image);
      image = NULL;
      const int channels = picture->has_alpha ? heif_chroma_interleaved_RGBA : heif_chroma_interleaved_RGB;
      error = heif.decode_image(handle, &image, heif_colorspace_RGB, channels, NULL);
      if (!error.code) status = copy(image, pixels, picture);
    }
  }
  if (error.code) status = fail(error, picture);
  if (image) heif.image_release(image);
  if (handle) heif.image_handle_release(handle);
  heif.context_free(context);
  return status;
}

int limn_read_heic(const uint8_t *data, size_t count, uint8_t *pixels, struct limn_picture *picture) {
  return read_heif(data, count, pixels, picture, 0);
}

int limn_read_avif(const uint8_t *data, size_t count, uint8_t *pixels, struct limn_picture *picture) {
  return read_heif(data, count, pixels, picture, 1);
}
