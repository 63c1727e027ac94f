#include <stdio.h>
#include <string.h>

#include <webp/decode.h>
#include <webp/demux.h>

#include "limn_image.h"

static int refuse(struct limn_picture *picture, int status, const char *message) {
  snprintf(picture->message, sizeof picture->message, "%s", message);
  return status;
}

// Decodes the first frame of an animation, which may cover only part of the canvas; the rest is black.
static int read_frame(const WebPDemuxer *demuxer, uint8_t *rgb, struct limn_picture *picture) {
  WebPIterator frame;
  if (!WebPDemuxGetFrame(demuxer, 1, &frame)) return refuse(picture, LIMN_PICTURE_BROKEN, "no frame");
  const size_t width = picture->width, height = picture->height, bytes = 3 * width * height;
  WebPDecoderConfig config;
  int status = LIMN_PICTURE_BROKEN;
  if (
    frame.x_offset < 0 || frame.y_offset < 0 || frame.width <= 0 || frame.height <= 0
    || (size_t)frame.x_offset + (size_t)frame.width > width || (size_t)frame.y_offset + (size_t)frame.height > height
    || !WebPInitDecoderConfig(&config)) {
    refuse(picture, status, "a frame outside the canvas");
  } else {
    const size_t offset = 3 * (width * (size_t)frame.y_offset + (size_t)frame.x_offset);
    if ((size_t)frame.width != width || (size_t)frame.height != height) memset(rgb, 0, bytes);
    config.output.colorspace = MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = rgb + offset;
    config.output.u.RGBA.stride = (int)(3 * width);
    config.output.u.RGBA.size = bytes - offset;
    switch (WebPDecode(frame.fragment.bytes, frame.fragment.size, &config)) {
      case VP8_STATUS_OK: status = LIMN_PICTURE_OK; break;
      case VP8_STATUS_NOT_ENOUGH_DATA:
      case VP8_STATUS_SUSPENDED: status = refuse(picture, LIMN_PICTURE_CUT_OFF, "the frame ends too early"); break;
      case VP8_STATUS_OUT_OF_MEMORY: status = refuse(picture, LIMN_PICTURE_NO_MEMORY, "out of memory"); break;
      default: refuse(picture, status, "the frame cannot be decoded");
    }
    WebPFreeDecBuffer(&config.output);
  }
  WebPDemuxReleaseIterator(&frame);
  return status;
}

int limn_read_webp(const uint8_t *data, size_t count, uint8_t *rgb, struct limn_picture *picture) {
  const WebPData file = {data, count};
  WebPDemuxState state;
  WebPDemuxer *demuxer = WebPDemuxPartial(&file, &state);
  int status = LIMN_PICTURE_OK;
  if (state == WEBP_DEMUX_PARSE_ERROR) {
    status = refuse(picture, LIMN_PICTURE_BROKEN, "invalid chunks");
  } else if (!demuxer || state != WEBP_DEMUX_DONE) {
    status = refuse(picture, LIMN_PICTURE_CUT_OFF, "the data ends inside a chunk");
  } else {
    const uint32_t width = WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_WIDTH);
    const uint32_t height = WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_HEIGHT);
    if (!rgb) {
      picture->width = width;
      picture->height = height;
    } else if (width == picture->width && height == picture->height) {
      status = read_frame(demuxer, rgb, picture);
    } else {
      status = refuse(picture, LIMN_PICTURE_BROKEN, "the header changed");
    }
  }
  WebPDemuxDelete(demuxer);
  return status;
}
