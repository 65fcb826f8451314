package pipeline

import (
	"crmintake/outbox"
)

// shared is the quota as the outbox keeps it for all workers.
func (q Quota) shared() outbox.Quota {
	return outbox.Quota{Account: outbox.QuotaAccount, Calls: q.Calls, Window: q.Window, Reserve: q.Reserve, Daily: q.Daily,
		Location: q.Location}
}
