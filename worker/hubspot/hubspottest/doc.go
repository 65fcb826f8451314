// Package hubspottest is a simulated HubSpot account behind the batch create and batch read API, as httptest is to
// http. It also tells what a property is. It is for tests, demos and benchmarks: strict about requests, true about what
// it has written, and full of faults.
//
// # Contract
//
//   - CRM is an http.Handler, and Server one with a listener of its own. Everything may be used by many goroutines at
//     once.
//   - What the account holds is told by Records, Find, Count and Len, whatever the answers said: which associations
//     each record got, too. A property without unique values can be counted: so losses (a value less than wanted)
//     and duplicates (a count above 1) show. Records that were archived or merged are counted still.
//   - A request is judged in this order: path (404), method (405), credential (401), quota (429), content type
//     (415), size (413), form of the body (400), object type (400, 405), id property (400). Only then it meets a
//     fault, by Script, else by chance, and only then it is worked on.
//   - A request that breaks the rules of form is counted in Stats.Malformed: a correct client has none.
//     Config.MinTransit and MaxTransit pass before the quota, as on the way to it; MinLatency and MaxLatency after it.
//   - No interval of the length Limit.Window holds more than Limit.Calls admitted calls. Each call with a good
//     credential counts, faults and bad requests included; what is answered 429 by the quota does not.
//   - With a trace id in every input the answer speaks for each input: 201, or 207 with an error for each bad one.
//     Without, the first bad input fails the whole batch, and nothing is written.
//   - With Config.OAuth the token endpoint gives access tokens, which end after OAuth.Lifetime by Config.Now. It judges
//     method (405), content type (415), form of the body (400), fault (ScriptTokens), client (400), refresh token
//     (400). It is no call: no quota counts it.
//   - Answers to the same requests in the same order are the same, clocks aside, for the same Seed.
//
// It imports nothing of the client that it tests: it is a reading of the API of its own, and so a second opinion.
//
// # Faults
//
// The constants of type Fault tell what each does; All lists those of a create, AllReads those of a read.
//
//	all created, told oddly    no trace ids, 200, unknown trace id, doubled, contradictory or too many results
//	some or all rejected       one error for several inputs and the other way round, errors that name nobody,
//	                           contexts and subcategories of other types, the whole batch for one
//	conflicts                  in five other forms, in a 207 or for the whole batch
//	associations               dropped in silence
//	reads                      no results as soon as one is missing, 404 when all are, with their names or without;
//	                           one left out
//	part accounted for         neither results nor errors; PENDING, PROCESSING, CANCELED, CANCELLED
//	refused, nothing written   400 to 526, and the 400 of an object type that is not known
//	written, told otherwise    500, 502, 504, 524; HTML, an empty, truncated or very large body
//	connection and time        reset before or after the work, a slow answer, late work
//
// # What is certain and what is assumed
//
// From HubSpot's published API description, documentation and its clients' issue threads: paths, members, statuses, the
// limit of 100 inputs and of 65,536 characters, multi-status by trace ids, the texts of errors, quota headers and the
// body of a 429, properties of null, results in any order, emails in lower case.
//
// From what users report of real accounts:
//
//   - ConflictAsCoordinates: BreinerSalas/middleware, YahyaElghobashy/salla-hubspot-backfill. What is in the braces
//     after objectTypeId, and errorType with errorTokens (ConflictAsErrorType): answers that clients of marketing
//     events keep in their tests.
//   - ConflictAsExists: PipedreamHQ/pipedream#11236, HubSpot community m-p/951534.
//   - A whole 409 although every input has a trace id, and CONFLICTING_UNIQUE_VALUE: the clients' issue threads.
//   - The plain read, 207 with the others and one error with context.ids: hubspot-api-php#619.
//   - ReadEmptyIfMissing: bruin-data/ingestr#1203. That the 404 may name nobody (Read404Unnamed) is a guess.
//   - ReadLeavesOut, and what Merge does to reads: rudder-transformer, where a merged record is left out without an
//     error. NoResults: hubspot-api-nodejs#26 tells of it for a create.
//   - ObjectType.Kept: a secondary email that comes back as the primary one, trimmed text, numbers without leading
//     zeros.
//   - An object type that is not known is answered 400 without a category: hubspot-api-php#128, #233.
//   - AssociationDropped and TargetDropped: hubspot-api-nodejs#382.
//   - ObjectType.Sensitive: the documentation has scopes of their own for sensitive properties, and answers of real
//     accounts name such a scope in requiredGranularScopes. That the whole batch is refused is assumed.
//
// Assumed, because nothing published tells:
//
//   - A property is read without a body and a query; hs_object_id is a property of each object type. Such a read counts
//     against the quota and meets no faults.
//   - Members that the description does not name are refused, and so is a name that stands twice in one object.
//   - associations must be there, and each of them has a target and a type. With ObjectType.Targets, an input with a
//     missing one is rejected, or the whole call is, as ObjectType.MissingTarget says: which of them is not known.
//   - An empty trace id counts as none. A trace id or a read's id that is used twice is refused.
//   - Of two inputs with the same unique value, the first one wins. Where that fails the batch,
//     ConflictAsCoordinates and ConflictAsErrorType name the record that would have been made. Unique values are
//     compared to the letter, emails in lower case, others as ObjectType.Kept says; the empty string is no value.
//   - What is missing is named by a read as it was asked for. Two values of one record have it told twice.
//   - The unique values of archived and merged records stay taken. A conflict names the archived record, which can't
//     be read, and the one that a record was merged into. A read with ?archived=true finds archived records only,
//     one by the id of a merged record says nothing of it.
//   - A property of an object type that is not known is answered 404.
//   - A required property that is missing and a text that is too long are told like any invalid property.
//   - A fault of form fails the whole batch. A size limit is configured, and not known.
//   - A daily limit turns at midnight UTC, of Config.Now.
//   - A refresh with OAuth.Rotate gives another refresh token. The one before is good until that, or the access token
//     that came with it, is used: so nothing is lost by who dies before he has kept it. By OAuth.RotateAtOnce it ends
//     at once.
//   - The token endpoint takes each parameter once and no other, and no query. Its errors have RFC 6749's form.
//   - Without Config.KeepProperties a read gives null for each property but the id property and the CRM's own.
//
// Not simulated: upsert, search, updates, deletion, OAuth's authorization by code, packed answers.
package hubspottest
