# SPDX-License-Identifier: Apache-2.0
if(TARGET praas_client)
  praas_unit_test(cli praas_cli praas_client)
endif()
if(TARGET praas AND TARGET praas-control AND TARGET praas-controller AND TARGET praas-worker)
  add_test(NAME e2e.cli COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/e2e/cli.sh ${PROJECT_BINARY_DIR})
  set_tests_properties(e2e.cli PROPERTIES LABELS "slow" SKIP_RETURN_CODE 77 TIMEOUT 300)
endif()
