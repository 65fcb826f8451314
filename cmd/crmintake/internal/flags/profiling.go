package flags

import (
	"errors"
	"os"
	"path/filepath"
	"runtime/pprof"
)

// profileFlags are for cmd/bench, which measures whole runs. A worker that runs tells its profiles by /debug/pprof.
type Profiling struct {
	Profile string `hidden:"" help:"Leave a CPU and an allocation profile of the run in this directory: cpu.pprof and allocs.pprof." type:"existingdir" placeholder:"DIR"`
}

// start profiles until stop, which writes the files.
func (f Profiling) Start() (stop func() error, err error) {
	if f.Profile == "" {
		return func() error { return nil }, nil
	}
	cpu, err := os.Create(filepath.Join(f.Profile, "cpu.pprof"))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return nil, errors.Join(err, cpu.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		allocs, err := os.Create(filepath.Join(f.Profile, "allocs.pprof"))
		if err != nil {
			return errors.Join(cpu.Close(), err)
		}
		return errors.Join(cpu.Close(), pprof.Lookup("allocs").WriteTo(allocs, 0), allocs.Close())
	}, nil
}
