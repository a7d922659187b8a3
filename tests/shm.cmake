# SPDX-License-Identifier: Apache-2.0
# Tests of shm/.
foreach(part ring segment)
  praas_unit_test(${part} praas_shm)
endforeach()
