#include <stdio.h>
#include <string.h>

#include <webp/decode.h>
#include <webp/demux.h>

#include "limn_image.h"

static int refuse(struct limn_picture *picture, int status, const char *message) {
  snprintf(picture->message, sizeof picture->message, "%s", message);
  return status;
}

// Decodes what there is of a frame. A complete one gives the same pixels as WebPDecode.
static VP8StatusCode decode(const WebPIterator *frame, WebPDecoderConfig *config, int accepts_damage) {
  if (!accepts_damage) return WebPDecode(frame->fragment.bytes, frame->fragment.size, config);
  WebPIDecoder *decoder = WebPIDecode(NULL, 0, config);
  if (!decoder) return VP8_STATUS_OUT_OF_MEMORY;
  const VP8StatusCode status = WebPIUpdate(decoder, frame->fragment.bytes, frame->fragment.size);
  WebPIDelete(decoder);
  return status;
}

// Decodes the first frame of an animation, which may cover only part of the canvas; the rest is black.
static int read_frame(const WebPDemuxer *demuxer, uint8_t *pixels, struct limn_picture *picture) {
  WebPIterator frame;
  if (!WebPDemuxGetFrame(demuxer, 1, &frame)) return refuse(picture, LIMN_PICTURE_BROKEN, "no frame");
  const size_t width = picture->width, height = picture->height, size = picture->has_alpha ? 4 : 3;
  const size_t bytes = size * width * height;
  WebPDecoderConfig config;
  int status = LIMN_PICTURE_BROKEN;
  if (
    frame.x_offset < 0 || frame.y_offset < 0 || frame.width <= 0 || frame.height <= 0
    || (size_t)frame.x_offset + (size_t)frame.width > width || (size_t)frame.y_offset + (size_t)frame.height > height
    || !WebPInitDecoderConfig(&config)) {
    refuse(picture, status, "a frame outside the canvas");
  } else {
    const size_t offset = size * (width * (size_t)frame.y_offset + (size_t)frame.x_offset);
    if ((size_t)frame.width != width || (size_t)frame.height != height) memset(pixels, 0, bytes);
    config.output.colorspace = picture->has_alpha ? MODE_RGBA : MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = pixels + offset;
    config.output.u.RGBA.stride = (int)(size * width);
    config.output.u.RGBA.size = bytes - offset;
    switch (decode(&frame, &config, picture->accepts_damage)) {
      case VP8_STATUS_OK: status = LIMN_PICTURE_OK; break;
      case VP8_STATUS_NOT_ENOUGH_DATA:
      case VP8_STATUS_SUSPENDED: status = refuse(picture, LIMN_PICTURE_CUT_OFF, "the frame ends too early"); break;
      case VP8_STATUS_OUT_OF_MEMORY: status = refuse(picture, LIMN_PICTURE_NO_MEMORY, "out of memory"); break;
      default: refuse(picture, status, "the frame cannot be decoded");
    }
    WebPFreeDecBuffer(&config.output);
    if (picture->accepts_damage && (status == LIMN_PICTURE_CUT_OFF || status == LIMN_PICTURE_BROKEN)) {
      picture->damage = LIMN_DAMAGE_LOSS;
      status = LIMN_PICTURE_OK;
    }
  }
  WebPDemuxReleaseIterator(&frame);
  return status;
}

int limn_read_webp(const uint8_t *data, size_t count, uint8_t *pixels, struct limn_picture *picture) {
  const WebPData file = {data, count};
  WebPDemuxState state;
  WebPDemuxer *demuxer = WebPDemuxPartial(&file, &state);
  int status = LIMN_PICTURE_OK;
  const int is_complete = demuxer && state == WEBP_DEMUX_DONE;
  const int is_partial = demuxer && state == WEBP_DEMUX_PARSED_HEADER && picture->accepts_damage;
  if (state == WEBP_DEMUX_PARSE_ERROR) {
    status = refuse(picture, LIMN_PICTURE_BROKEN, "invalid chunks");
  } else if (!is_complete && !is_partial) {
    status = refuse(picture, LIMN_PICTURE_CUT_OFF, "the data ends inside a chunk");
  } else {
    const uint32_t width = WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_WIDTH);
    const uint32_t height = WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_HEIGHT);
    const int has_alpha = (WebPDemuxGetI(demuxer, WEBP_FF_FORMAT_FLAGS) & ALPHA_FLAG) != 0;
    if (!pixels) {
      picture->width = width;
      picture->height = height;
      picture->has_alpha = has_alpha;
      picture->is_animated = WebPDemuxGetI(demuxer, WEBP_FF_FRAME_COUNT) > 1;
    } else if (width == picture->width && height == picture->height && has_alpha == picture->has_alpha) {
      status = read_frame(demuxer, pixels, picture);
      if (status == LIMN_PICTURE_OK && !is_complete && picture->damage == LIMN_DAMAGE_NONE)
        picture->damage = LIMN_DAMAGE_HARMLESS;
    } else {
      status = refuse(picture, LIMN_PICTURE_BROKEN, "the header changed");
    }
  }
  WebPDemuxDelete(demuxer);
  return status;
}
