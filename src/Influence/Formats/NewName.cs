using System.Runtime.InteropServices;

namespace Influence.Formats;

/// <summary>
/// Gives a file a name that nobody else has, in one step. <see cref="File.Move(string, string)"/> does so on Windows only: elsewhere it
/// looks whether the name is free and renames then, so that of two processes that want one name both may believe to have it.
/// </summary>
internal static partial class NewName
{
    private const int FileExists = 17; // EEXIST, on Linux and macOS.

    /// <summary>Moves a file to a free name of its folder.</summary>
    /// <param name="file">The file; it may be open and locked.</param>
    /// <param name="name">Its new name.</param>
    /// <returns>Whether it has the name; false where there is such a file already.</returns>
    /// <exception cref="IOException">It cannot be moved.</exception>
    public static bool TryGive(string file, string name)
    {
        if (!OperatingSystem.IsWindows())
        {
            if (Link(file, name) == 0)
            {
                PartialFile.TryDelete(file);
                return true;
            }

            if (Marshal.GetLastPInvokeError() == FileExists)
            {
                return false;
            }
        }

        try
        {
            // On Windows, and on file systems without hard links.
            File.Move(file, name, overwrite: false);
            return true;
        }
        catch (IOException exception) when (IsNameTaken(exception))
        {
            // Asked of the error, not of the folder: the file that was in the way may be gone by now, as a claim whose run has ended.
            return false;
        }
    }

    private static bool IsNameTaken(IOException exception)
    {
        const int WindowsFileExists = unchecked((int)0x80070050);
        const int WindowsAlreadyExists = unchecked((int)0x800700B7);
        return exception.HResult is FileExists or WindowsFileExists or WindowsAlreadyExists;
    }

    [LibraryImport("libc", EntryPoint = "link", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Link(string file, string name);
}
