# SPDX-License-Identifier: Apache-2.0
# Tests of shm/.
foreach(part channel counters doorbell log_ring pool ring segment)
  praas_unit_test(${part} praas_shm)
endforeach()
