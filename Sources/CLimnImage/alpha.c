#include "limn_image.h"

static uint8_t blend(int colour, int ground, int alpha) {
  return (uint8_t)((colour * alpha + ground * (255 - alpha) + 127) / 255);
}

size_t limn_remove_alpha(uint8_t *pixels, size_t count, const uint8_t *background) {
  size_t transparent = 0;
  for (size_t i = 0; i < count; i++) {
    const uint8_t *from = pixels + 4 * i;
    uint8_t *to = pixels + 3 * i;
    const int alpha = from[3];
    transparent += alpha < 128;
    for (int c = 0; c < 3; c++) to[c] = background ? blend(from[c], background[c], alpha) : from[c];
  }
  return transparent;
}
