//! The calls of the market of rehearsals: a fleet needs them all.
//!
//! | call | here | `spotscale api` | test |
//! |---|---|---|---|
//! | `GET /trace/v1/whoami` | `Dialect::whoami` | `whoami` | `every_call_needs_the_token` |
//! | `GET /trace/v1/account` | `Dialect::balance` | `account` | `what_the_account_holds_is_what_the_world_says` |
//! | `GET /trace/v1/pools` | `Dialect::hostnodes` | `pools` | `a_pool_is_a_machine_that_is_sold_in_lots` |
//! | `GET /trace/v1/vms` | `Dialect::instances` | `vms` | `a_vms_whole_life_reads_back_as_the_world_has_it` |
//! | `GET /trace/v1/vms/{vm}` | `Dialect::instance` | `vm` | `a_vms_whole_life_reads_back_as_the_world_has_it` |
//! | `POST /trace/v1/validate` | `Dialect::validate` | `validate` | `a_bid_is_asked_about_pool_by_pool` |
//! | `POST /trace/v1/vms` | `Dialect::deploy` | `create` | `a_create_is_judged_as_the_documentation_says` |
//! | `DELETE /trace/v1/vms/{vm}` | `Dialect::terminate` | `delete` | `a_vms_whole_life_reads_back_as_the_world_has_it` |
