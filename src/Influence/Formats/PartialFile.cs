namespace Influence.Formats;

/// <summary>
/// A file that is written at any place and in any order, beside its final name; it gets that name when it is whole, and is gone when
/// it is disposed before.
/// </summary>
internal sealed class PartialFile : IDisposable
{
    private readonly string _path;
    private readonly string _partial;
    private FileStream? _stream;

    /// <exception cref="InfluenceException">The folder cannot be made or written.</exception>
    public PartialFile(string path)
    {
        _path = Path.GetFullPath(path);
        _partial = AtomicFile.PartialName(_path);
        Guarded(() =>
        {
            if (Directory.Exists(_path))
            {
                throw new IOException("There is a folder of that name.");
            }

            Directory.CreateDirectory(Path.GetDirectoryName(_path)!);
            _stream = Open(0);
        });
    }

    /// <summary>Takes so many bytes on the disk; before anything is written.</summary>
    /// <exception cref="InfluenceException">The disk has no room for them.</exception>
    public void Reserve(long bytes) => Guarded(() =>
    {
        _stream!.Dispose();
        _stream = Open(bytes);
        RandomAccess.SetLength(_stream.SafeFileHandle, bytes);
    });

    /// <exception cref="InfluenceException">The disk is full.</exception>
    public void Write(long position, ReadOnlySpan<byte> bytes)
    {
        try
        {
            RandomAccess.Write(_stream!.SafeFileHandle, bytes, position);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw AtomicFile.CannotWrite(_path, exception);
        }
    }

    /// <summary>The file is whole: it is flushed to the disk and gets its name.</summary>
    public void Commit()
    {
        Guarded(() =>
        {
            _stream!.Flush(flushToDisk: true);
            _stream.Dispose();
            File.Move(_partial, _path, overwrite: true);
        });
        _stream = null;
    }

    public void Dispose()
    {
        if (_stream is not null)
        {
            _stream.Dispose();
            _stream = null;
            AtomicFile.TryDelete(_partial);
        }
    }

    private FileStream Open(long bytes) => new(_partial, new FileStreamOptions
    {
        Mode = FileMode.Create,
        Access = FileAccess.Write,
        Share = FileShare.None,
        BufferSize = 0,
        PreallocationSize = bytes,
    });

    private void Guarded(Action action)
    {
        try
        {
            action();
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            _stream?.Dispose();
            _stream = null;
            AtomicFile.TryDelete(_partial);
            throw AtomicFile.CannotWrite(_path, exception);
        }
    }
}
