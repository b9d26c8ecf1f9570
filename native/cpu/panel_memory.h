// Memory for packed panels, on huge pages.
#pragma once

#include <cstddef>

namespace glance {

// At least bytes of memory, 1 or more, aligned to a cache line; null if there is none. Any thread.
void *take_panel_memory(size_t bytes) noexcept;

// Gives back what was taken for so many bytes; null is allowed.
void give_back_panel_memory(void *memory, size_t bytes) noexcept;

}  // namespace glance
