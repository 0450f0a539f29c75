using System;
using System.Collections.Generic;
using System.IO;
using System.IO.Compression;
using System.Text.RegularExpressions;

namespace Ani3D.Core
{
    /// <summary>A file that cannot be used; the message says which, what is wrong and what to do.</summary>
    public sealed class InputException : Exception
    {
        public InputException(string message) : base(message) { }
    }

    /// <summary>The strict zip of a bundle (BUNDLE.md): entries fill the file, nothing else is in it.</summary>
    public static class Archive
    {
        public const int MaxEntries = 1024;
        public const long MaxEntryBytes = 1L << 30;
        public const long MaxTotalBytes = 2L << 30;
        public const long FreeBytes = 64L << 20;
        public const long MaxRatio = 100;

        const int LocalBytes = 30, EntryBytes = 46, EndBytes = 22;
        static readonly Regex Name =
            new Regex("\\A[a-z0-9_]{1,40}(/[a-z0-9_]{1,40}){0,3}\\.[a-z0-9]{1,8}\\z", RegexOptions.CultureInvariant);

        struct Entry
        {
            public string Name;
            public bool Deflated;
            public uint Crc;
            public long Stored, Size, Data;
        }

        /// <summary>All entries by name. Throws <see cref="InputException"/> naming <paramref name="source"/>.</summary>
        public static Dictionary<string, byte[]> Read(byte[] file, string source)
        {
            var contents = new Dictionary<string, byte[]>();
            foreach (Entry entry in Directory(file, source))
            {
                byte[] content = Content(file, entry, source);
                if (Crc32(content) != entry.Crc)
                    throw new InputException($"{source}/{entry.Name}: is damaged; copy the file again");
                contents.Add(entry.Name, content);
            }
            return contents;
        }

        static List<Entry> Directory(byte[] file, string source)
        {
            long end = file.LongLength - EndBytes;
            if (end < 0 || U32(file, 0) != 0x04034b50)
                throw new InputException($"{source}: is not an ani3d bundle (a zip); give a file made by ani3d bake");
            if (U32(file, end) != 0x06054b50 || U16(file, end + 20) != 0)
                throw new InputException($"{source}: is cut off, or has bytes after its end; copy it again");
            int count = U16(file, end + 10);
            long at = U32(file, end + 16), start = at, position = 0, total = 0;
            if (count > MaxEntries || start + U32(file, end + 12) != end)
                throw new InputException($"{source}: has bytes that belong to no entry, or too many entries");
            var entries = new List<Entry>();
            var names = new HashSet<string>();
            for (int i = 0; i < count; i++)
            {
                Entry entry = DirectoryEntry(file, at, end, source, out long offset);
                if (offset != position || !names.Add(entry.Name))
                    throw new InputException($"{source}/{entry.Name}: is not where the file's directory should have it");
                entry.Data = position + LocalBytes + entry.Name.Length;
                position = entry.Data + entry.Stored;
                total += entry.Size;
                at += EntryBytes + entry.Name.Length;
                entries.Add(entry);
            }
            if (position != start || at != end)
                throw new InputException($"{source}: has bytes that belong to no entry");
            if (total > Math.Min(MaxTotalBytes, FreeBytes + MaxRatio * file.LongLength))
                throw new InputException($"{source}: would inflate from {file.LongLength} to {total} bytes; refused");
            return entries;
        }

        static Entry DirectoryEntry(byte[] file, long at, long end, string source, out long offset)
        {
            if (at + EntryBytes > end || U32(file, at) != 0x02014b50)
                throw new InputException($"{source}: its directory is damaged; copy it again");
            int length = (int)Math.Min(U16(file, at + 28), end - at - EntryBytes);
            var letters = new char[length];
            for (int i = 0; i < length; i++) letters[i] = (char)file[at + EntryBytes + i];
            int method = U16(file, at + 10), flags = U16(file, at + 8) | U16(file, at + 30) | U16(file, at + 32);
            var entry = new Entry
            {
                Name = new string(letters), Deflated = method == 8, Crc = U32(file, at + 16),
                Stored = U32(file, at + 20), Size = U32(file, at + 24),
            };
            offset = U32(file, at + 42);
            if (!Name.IsMatch(entry.Name) || flags != 0 || (method != 0 && method != 8) || entry.Size > MaxEntryBytes)
                throw new InputException($"{source}: an entry is not one a bundle may have");
            return entry;
        }

        static byte[] Content(byte[] file, Entry entry, string source)
        {
            var content = new byte[entry.Size];
            if (!entry.Deflated)
            {
                if (entry.Stored != entry.Size)
                    throw new InputException($"{source}/{entry.Name}: is damaged; copy the file again");
                Array.Copy(file, entry.Data, content, 0, entry.Size);
                return content;
            }
            try
            {
                using (var stored = new MemoryStream(file, (int)entry.Data, (int)entry.Stored))
                using (var inflater = new DeflateStream(stored, CompressionMode.Decompress))
                {
                    int filled = 0, read = 1;
                    while (filled < content.Length && read > 0)
                    {
                        read = inflater.Read(content, filled, content.Length - filled);
                        filled += read;
                    }
                    if (filled < content.Length || inflater.ReadByte() != -1)
                        throw new InvalidDataException("not as large as its header says");
                }
            }
            catch (Exception error) when (error is InvalidDataException || error is IOException)
            {
                throw new InputException($"{source}/{entry.Name}: is damaged ({error.Message}); copy the file again");
            }
            return content;
        }

        static readonly uint[] CrcTable = MakeCrcTable();

        static uint[] MakeCrcTable()
        {
            var table = new uint[256];
            for (uint n = 0; n < 256; n++)
            {
                uint value = n;
                for (int bit = 0; bit < 8; bit++) value = (value & 1) != 0 ? 0xedb88320 ^ (value >> 1) : value >> 1;
                table[n] = value;
            }
            return table;
        }

        static uint Crc32(byte[] bytes)
        {
            uint crc = 0xffffffff;
            foreach (byte value in bytes) crc = CrcTable[(crc ^ value) & 255] ^ (crc >> 8);
            return crc ^ 0xffffffff;
        }

        static int U16(byte[] file, long at) => file[at] | file[at + 1] << 8;

        static uint U32(byte[] file, long at) => (uint)(U16(file, at) | U16(file, at + 2) << 16);
    }
}
