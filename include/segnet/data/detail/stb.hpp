// SPDX-License-Identifier: MIT
// stb_image and stb_image_write, compiled into a namespace of ours with internal linkage. A program may
// include this header in many translation units, and may use stb itself with other settings, before or after:
// every macro that configures stb is put aside on entry and restored on exit.
#pragma once

#include <segnet/core/error.hpp>

// Whatever stb includes must be included before the namespace opens.
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace segnet::detail {
/// A hostile file may break an invariant of the decoder: leave by an exception, never by abort().
inline void stb_check(bool holds) {
  if (!holds) throw error("the decoder met data that contradict themselves");
}
}  // namespace segnet::detail

#pragma push_macro("STB_IMAGE_IMPLEMENTATION")
#pragma push_macro("STB_IMAGE_STATIC")
#pragma push_macro("STBI_INCLUDE_STB_IMAGE_H")
#pragma push_macro("STBIDEF")
#pragma push_macro("STBI_ASSERT")
#pragma push_macro("stbi__err")
#pragma push_macro("STBI_MALLOC")
#pragma push_macro("STBI_REALLOC")
#pragma push_macro("STBI_REALLOC_SIZED")
#pragma push_macro("STBI_FREE")
#pragma push_macro("STBI_MAX_DIMENSIONS")
#pragma push_macro("STBI_NO_STDIO")
#pragma push_macro("STBI_NO_LINEAR")
#pragma push_macro("STBI_NO_HDR")
#pragma push_macro("STBI_NO_BMP")
#pragma push_macro("STBI_NO_PSD")
#pragma push_macro("STBI_NO_TGA")
#pragma push_macro("STBI_NO_PIC")
#pragma push_macro("STBI_NO_PNM")
#pragma push_macro("STB_IMAGE_WRITE_IMPLEMENTATION")
#pragma push_macro("STB_IMAGE_WRITE_STATIC")
#pragma push_macro("INCLUDE_STB_IMAGE_WRITE_H")
#pragma push_macro("STBIWDEF")
#pragma push_macro("STBIW_ASSERT")
#pragma push_macro("STBI_WRITE_NO_STDIO")
#undef STB_IMAGE_IMPLEMENTATION
#undef STB_IMAGE_STATIC
#undef STBI_INCLUDE_STB_IMAGE_H
#undef STBIDEF
#undef STBI_ASSERT
#undef stbi__err
#undef STBI_MALLOC
#undef STBI_REALLOC
#undef STBI_REALLOC_SIZED
#undef STBI_FREE
#undef STBI_MAX_DIMENSIONS
#undef STBI_NO_STDIO
#undef STBI_NO_LINEAR
#undef STBI_NO_HDR
#undef STBI_NO_BMP
#undef STBI_NO_PSD
#undef STBI_NO_TGA
#undef STBI_NO_PIC
#undef STBI_NO_PNM
#undef STB_IMAGE_WRITE_IMPLEMENTATION
#undef STB_IMAGE_WRITE_STATIC
#undef INCLUDE_STB_IMAGE_WRITE_H
#undef STBIWDEF
#undef STBIW_ASSERT
#undef STBI_WRITE_NO_STDIO

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ASSERT(condition) ::segnet::detail::stb_check(static_cast<bool>(condition))
#define STBI_MAX_DIMENSIONS 32768
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#define STBI_NO_BMP
#define STBI_NO_PSD
#define STBI_NO_TGA
#define STBI_NO_PIC
#define STBI_NO_PNM
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#define STBIW_ASSERT(condition) ::segnet::detail::stb_check(static_cast<bool>(condition))
#define STBI_WRITE_NO_STDIO

// stb_image declares its functions extern "C", and g++ then gives even static ones their plain name: in a
// translation unit that holds the user's own copy too, the assembler would meet each name twice.
#define stbi_load_from_memory segnet_stbi_load_from_memory
#define stbi_load_from_callbacks segnet_stbi_load_from_callbacks
#define stbi_load_gif_from_memory segnet_stbi_load_gif_from_memory
#define stbi_load_16_from_memory segnet_stbi_load_16_from_memory
#define stbi_load_16_from_callbacks segnet_stbi_load_16_from_callbacks
#define stbi_is_hdr_from_callbacks segnet_stbi_is_hdr_from_callbacks
#define stbi_is_hdr_from_memory segnet_stbi_is_hdr_from_memory
#define stbi_failure_reason segnet_stbi_failure_reason
#define stbi_image_free segnet_stbi_image_free
#define stbi_info_from_memory segnet_stbi_info_from_memory
#define stbi_info_from_callbacks segnet_stbi_info_from_callbacks
#define stbi_is_16_bit_from_memory segnet_stbi_is_16_bit_from_memory
#define stbi_is_16_bit_from_callbacks segnet_stbi_is_16_bit_from_callbacks
#define stbi_set_unpremultiply_on_load segnet_stbi_set_unpremultiply_on_load
#define stbi_convert_iphone_png_to_rgb segnet_stbi_convert_iphone_png_to_rgb
#define stbi_set_flip_vertically_on_load segnet_stbi_set_flip_vertically_on_load
#define stbi_set_unpremultiply_on_load_thread segnet_stbi_set_unpremultiply_on_load_thread
#define stbi_convert_iphone_png_to_rgb_thread segnet_stbi_convert_iphone_png_to_rgb_thread
#define stbi_set_flip_vertically_on_load_thread segnet_stbi_set_flip_vertically_on_load_thread
#define stbi_zlib_decode_malloc_guesssize segnet_stbi_zlib_decode_malloc_guesssize
#define stbi_zlib_decode_malloc_guesssize_headerflag segnet_stbi_zlib_decode_malloc_guesssize_headerflag
#define stbi_zlib_decode_malloc segnet_stbi_zlib_decode_malloc
#define stbi_zlib_decode_buffer segnet_stbi_zlib_decode_buffer
#define stbi_zlib_decode_noheader_malloc segnet_stbi_zlib_decode_noheader_malloc
#define stbi_zlib_decode_noheader_buffer segnet_stbi_zlib_decode_noheader_buffer
#define stbi__unpremultiply_on_load_thread segnet_stbi__unpremultiply_on_load_thread

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-variable"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wcast-qual"
#pragma GCC diagnostic ignored "-Wold-style-cast"
#endif

namespace segnet::detail::stb {
#if __has_include(<stb/stb_image.h>)
#include <stb/stb_image.h>
#include <stb/stb_image_write.h>
#else
#include <stb_image.h>
#include <stb_image_write.h>
#endif
}  // namespace segnet::detail::stb

#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

#undef stbi_load_from_memory
#undef stbi_load_from_callbacks
#undef stbi_load_gif_from_memory
#undef stbi_load_16_from_memory
#undef stbi_load_16_from_callbacks
#undef stbi_is_hdr_from_callbacks
#undef stbi_is_hdr_from_memory
#undef stbi_failure_reason
#undef stbi_image_free
#undef stbi_info_from_memory
#undef stbi_info_from_callbacks
#undef stbi_is_16_bit_from_memory
#undef stbi_is_16_bit_from_callbacks
#undef stbi_set_unpremultiply_on_load
#undef stbi_convert_iphone_png_to_rgb
#undef stbi_set_flip_vertically_on_load
#undef stbi_set_unpremultiply_on_load_thread
#undef stbi_convert_iphone_png_to_rgb_thread
#undef stbi_set_flip_vertically_on_load_thread
#undef stbi_zlib_decode_malloc_guesssize
#undef stbi_zlib_decode_malloc_guesssize_headerflag
#undef stbi_zlib_decode_malloc
#undef stbi_zlib_decode_buffer
#undef stbi_zlib_decode_noheader_malloc
#undef stbi_zlib_decode_noheader_buffer
#undef stbi__unpremultiply_on_load_thread
#pragma pop_macro("STB_IMAGE_IMPLEMENTATION")
#pragma pop_macro("STB_IMAGE_STATIC")
#pragma pop_macro("STBI_INCLUDE_STB_IMAGE_H")
#pragma pop_macro("STBIDEF")
#pragma pop_macro("STBI_ASSERT")
#pragma pop_macro("stbi__err")
#pragma pop_macro("STBI_MALLOC")
#pragma pop_macro("STBI_REALLOC")
#pragma pop_macro("STBI_REALLOC_SIZED")
#pragma pop_macro("STBI_FREE")
#pragma pop_macro("STBI_MAX_DIMENSIONS")
#pragma pop_macro("STBI_NO_STDIO")
#pragma pop_macro("STBI_NO_LINEAR")
#pragma pop_macro("STBI_NO_HDR")
#pragma pop_macro("STBI_NO_BMP")
#pragma pop_macro("STBI_NO_PSD")
#pragma pop_macro("STBI_NO_TGA")
#pragma pop_macro("STBI_NO_PIC")
#pragma pop_macro("STBI_NO_PNM")
#pragma pop_macro("STB_IMAGE_WRITE_IMPLEMENTATION")
#pragma pop_macro("STB_IMAGE_WRITE_STATIC")
#pragma pop_macro("INCLUDE_STB_IMAGE_WRITE_H")
#pragma pop_macro("STBIWDEF")
#pragma pop_macro("STBIW_ASSERT")
#pragma pop_macro("STBI_WRITE_NO_STDIO")
